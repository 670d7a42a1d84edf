import assert from 'node:assert/strict';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TransferError } from '../../../common/errors.ts';
import { MapfileKeeper } from '../../../sender/bad-sectors/mapfile-keeper.ts';
import { formatMapfile, parseMapfile } from '../../../sender/bad-sectors/mapfile.ts';
import { ReadMap, type MapArea, type ReadStatus } from '../../../sender/bad-sectors/read-map.ts';
import { coded } from '../../support/coded.ts';
import { tempDir } from '../../support/temp-dir.ts';

/** From the manual of ddrescue 1.27, with every status. */
const FROM_DDRESCUE = `# Mapfile. Created by GNU ddrescue version 1.27
# Command line: ddrescue -d -c18 /dev/fd0 fdimage mapfile
# Start time:   2015-07-21 09:37:44
# Current time: 2015-07-21 09:38:19
# Copying non-tried blocks... Pass 1 (forwards)
# current_pos  current_status  current_pass
0x00120000     ?               1
#      pos        size  status
0x00000000  0x00117000  +
0x00117000  0x00000200  -
0x00117200  0x00001000  /
0x00118200  0x00007E00  *
0x00120000  0x00048000  ?
`;
const SIZE = 0x168000;

test("ddrescue's mapfile is read; areas not yet tried sector by sector count as not tried", () => {
  assert.deepEqual(
    parseMapfile(FROM_DDRESCUE, 'map', SIZE).map(({ offset, length, status }) => [offset, length, status]),
    [
      [0, 0x117000, '+'],
      [0x117000, 512, '-'],
      [0x117200, 0x1000, '?'],
      [0x118200, 0x7e00, '?'],
      [0x120000, 0x48000, '?'],
    ],
  );
  // Versions before 1.20 have no pass; numbers may be decimal or octal.
  assert.deepEqual(parseMapfile('0 +\n0 010 +\n8 0x8 -\n', 'map', 16).length, 2);
});

test('a written mapfile can be read again', () => {
  const pieces = fc.array(
    fc.record({
      length: fc.integer({ min: 1, max: 2 ** 40 }),
      status: fc.constantFrom<ReadStatus[]>('+', '-', '?'),
    }),
  );
  fc.assert(
    fc.property(pieces, (all) => {
      const map = new ReadMap(all.reduce((sum, { length }) => sum + length, 0));
      let end = 0;
      const areas = all.map(({ length, status }): MapArea => {
        end += length;
        return { offset: end - length, length, status };
      });
      map.load(areas);
      const text = formatMapfile(map.areas(), ['a comment']);
      const again = new ReadMap(map.sizeBytes);
      again.load(parseMapfile(text, 'map', map.sizeBytes));
      assert.deepEqual(again.areas(), map.areas());
      assert.equal(formatMapfile(again.areas(), ['a comment']), text);
    }),
  );
});

test('a file that is not a mapfile of this source is refused, naming the line', () => {
  const good = FROM_DDRESCUE.split('\n');
  for (const [line, text, message] of [
    [7, 'garbage', 'line 7 is not the line with the current position and status'],
    [7, '0x0 ?  1 1', 'line 7 is not the line with'],
    [9, '0x0 0x117000', 'line 9 is not an area'],
    [9, '0x0 0x117000 x', 'line 9 is not an area'],
    [9, '0x0 0x117000 __proto__', 'line 9 is not an area'],
    [9, '0x0 0 +', 'line 9 is not an area'],
    [9, '0x0 -1 +', 'line 9 is not an area'],
    [9, '0x0 0xFFFFFFFFFFFFFFFF +', 'line 9 is not an area'],
    [9, '0x200 0x116E00 +', 'line 9 starts at 512, but the area before it ends at 0'],
    [10, '0x117200 0x200 -', 'line 10 starts at 1143296, but the area before it ends at 1142784'],
    [13, '', 'it covers 1179648 bytes, but the source has 1474560'],
  ] as const) {
    const lines = good.with(line - 1, text).join('\n');
    assert.throws(
      () => parseMapfile(lines, 'disk.map', SIZE),
      (error) =>
        error instanceof TransferError &&
        error.message.startsWith(`cannot use the mapfile disk.map: ${message}`),
      text,
    );
  }
  for (const text of ['', '# only a comment\n', '\u0000\u0001']) {
    assert.throws(
      () => parseMapfile(text, 'x', SIZE),
      coded('usage', { message: /cannot use the mapfile x: / }),
    );
  }
});

test('any text either tiles the source or is refused', () => {
  const line = fc.oneof(fc.string(), fc.constantFrom(...FROM_DDRESCUE.split('\n')));
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      try {
        const areas = parseMapfile(lines.join('\n'), 'x', SIZE);
        assert.equal(
          areas.reduce((sum, { length }) => sum + length, 0),
          SIZE,
        );
      } catch (error) {
        assert.equal(coded('usage')(error), true);
      }
    }),
  );
});

test('a mapfile that cannot be used is left unchanged, and a new one is written at once', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'map');
  const warnings: string[] = [];
  const options = { comments: ['Source: x'], warn: (message: string) => void warnings.push(message) };
  for (const text of ['garbage\n', FROM_DDRESCUE]) {
    await writeFile(path, text);
    await assert.rejects(MapfileKeeper.open(path, new ReadMap(1000), options), coded('usage'));
    assert.equal(await readFile(path, 'utf8'), text);
  }
  const map = new ReadMap(1024);
  const keeper = await MapfileKeeper.open(join(folder.path, 'new'), map, options);
  map.noteUnreadable(0, 512);
  map.noteDurable(0, 1024);
  await keeper.close();
  assert.match(
    await readFile(join(folder.path, 'new'), 'utf8'),
    /^# Mapfile[^]*\n0x00000000  0x00000200  -\n0x00000200  0x00000200  \+\n$/,
  );
  assert.deepEqual([await readdir(folder.path), warnings], [['map', 'new'], []]);
});

test('a mapfile that cannot be written is refused at the start, and warned of later', async () => {
  await using folder = await tempDir();
  const place = join(folder.path, 'sub');
  const warnings: string[] = [];
  const options = { comments: [], warn: (message: string) => void warnings.push(message) };
  const map = new ReadMap(1024);
  await assert.rejects(
    MapfileKeeper.open(join(place, 'map'), map, options),
    coded('usage', { message: /cannot use the mapfile .*: no such file or directory/ }),
  );
  await mkdir(place);
  const keeper = await MapfileKeeper.open(join(place, 'map'), map, options);
  await rm(place, { recursive: true });
  map.noteRead(0, 512);
  await keeper.save();
  map.noteRead(0, 1024);
  await keeper.close();
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /cannot write the mapfile .*: no such file or directory/);
});
