import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readDomain } from '../../../sender/domain/domain-mapfile.ts';
import { wholePages } from '../../../sender/domain/left-out.ts';
import { coded } from '../../support/coded.ts';
import { runOk } from '../../support/run.ts';
import { tempDir } from '../../support/temp-dir.ts';

const SIZE = 0x100000;

async function domainOf(text: string, sizeBytes = SIZE): ReturnType<typeof readDomain> {
  await using folder = await tempDir();
  const path = join(folder.path, 'map');
  await writeFile(path, text);
  return await readDomain(path, sizeBytes);
}

test('what is finished is copied, in whole pages, and what the map does not cover', async () => {
  const whole = await domainOf('# by hand\n0 ? 1\n0 0x10000 +\n0x10000 0x8000 -\n0x18000 0xE8000 ?\n');
  assert.deepEqual([whole.leftOut, whole.note], [[[0x10000, 0xf0000]], undefined]);
  // As partclone writes it: no pass, and an offset.
  const part = await domainOf('0x0 ?\n0x1000 0x200 +\n0x1200 0x3000 ?\n0x4200 0x200 +\n');
  assert.deepEqual(part.leftOut, [[0x2000, 0x2000]]);
  assert.match(part.note ?? '', /^1011 KiB of the source are not in .*map: they are copied$/);
});

test('a map that cannot be one of this source is refused, with its line', async () => {
  const cases = [
    ['0 ?\n0 0x100200 +\n', /map: it reaches to 1049088, but the source has 1048576 bytes$/],
    [
      '0 ?\n0 0x2000 +\n0x1000 0x1000 ?\n',
      /map: line 3 starts at 4096, but the area before it ends at 8192$/,
    ],
    [
      '0 ?\n0 0x1000 +\n0x2000 0x1000 ?\n',
      /map: line 3 starts at 8192, but the area before it ends at 4096$/,
    ],
    ['0 ?\n0 0x1000 -1\n', /map: line 2 is not an area: position, size and status$/],
    ['0 ?\n0 -0x1000 +\n', /map: line 2 is not an area: position, size and status$/],
    ['0 ?\n0 0x1000 ?\n', /map: it has no area with the status \+, so nothing would be copied$/],
    ['', /map: it has no line with the current position and status$/],
    ['\u0000\u0001GIF89a\n', /map: line 1 is not the line with the current position and status$/],
  ] as const;
  for (const [text, message] of cases) {
    await assert.rejects(domainOf(text), { code: 'usage', message }, text);
  }
  await assert.rejects(readDomain('/dev/null', SIZE), coded('usage', { message: /it is not a file$/ }));
  await assert.rejects(
    readDomain('/nowhere', SIZE),
    coded('usage', { message: /^cannot read the mapfile \/nowhere: no such/ }),
  );
  await using folder = await tempDir();
  const [pipe, huge] = [join(folder.path, 'pipe'), join(folder.path, 'huge')];
  await runOk('mkfifo', [pipe]);
  await assert.rejects(readDomain(pipe, SIZE), coded('usage', { message: /it is not a file$/ }));
  await runOk('truncate', ['--size', '257M', huge]);
  await assert.rejects(
    readDomain(huge, SIZE),
    coded('usage', { message: /it has 257 MiB, more than 256 MiB$/ }),
  );
});

test('what is left out never grows when it is cut to pages', () => {
  const size = 100_000;
  const areas = [
    [0, 4095],
    [5000, 3192],
    [9000, 9000],
    [90_000, 10_000],
  ] as const;
  assert.deepEqual(wholePages(areas, size), [
    [12_288, 4096],
    [90_112, 9888],
  ]);
});
