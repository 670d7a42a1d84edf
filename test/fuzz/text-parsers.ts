/** What people write: options, timetables, and the mapfiles of GNU ddrescue. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { labelOf, majorMinorOf } from '../../common/disk/block-devices.ts';
import { parseNbdUri } from '../../common/nbd/nbd-uri.ts';
import { redact } from '../../common/text.ts';
import { parseDuration, parseSize, parseWhole } from '../../common/units.ts';
import { parseFleetArgs } from '../../fleet/cli.ts';
import { parseReceiveArgs } from '../../receiver/cli.ts';
import { formatMapfile, parseMapfile } from '../../sender/bad-sectors/mapfile.ts';
import { ReadMap, type MapArea, type ReadStatus } from '../../sender/bad-sectors/read-map.ts';
import {
  LIMIT_BYTES_PER_SECOND_MIN,
  limitAt,
  parseSchedule,
} from '../../common/bandwidth/bandwidth-schedule.ts';
import { parseSendArgs } from '../../sender/cli.ts';
import { parseDestination } from '../../common/ssh/destination.ts';
import { parseCompression } from '../../sender/compression/compress-option.ts';
import { mutatedText } from './mutations.ts';
import {
  assertShowable,
  parsed,
  parserProperty,
  quotingParsed,
  type ParserProperty,
} from './parser-property.ts';

const sizes = fc
  .tuple(fc.nat(5000), fc.constantFrom('', 'B', 'K', 'MiB', 'G', 'TB', 'KB'))
  .map(([count, unit]) => `${count}${unit}`);
const durations = fc
  .tuple(fc.nat(5000), fc.constantFrom('ms', 's', 'm', 'h', 'd'))
  .map(([count, unit]) => `${count}${unit}`);

function checkUnits(text: string): void {
  const bytes = quotingParsed(['usage'], () => parseSize(text, '--memory'));
  if (bytes !== undefined) {
    assert(Number.isSafeInteger(bytes) && bytes >= 0, `${bytes}`);
    assert.equal(parseSize(String(bytes)), bytes);
  }
  const ms = quotingParsed(['usage'], () => parseDuration(text, '--retry-for'));
  assert(ms === undefined || (Number.isSafeInteger(ms) && ms >= 0), `${ms}`);
  const whole = quotingParsed(['usage'], () => parseWhole(text, 'a number', 1, 4096));
  assert(whole === undefined || (Number.isInteger(whole) && whole >= 1 && whole <= 4096));
  const level = quotingParsed(['usage'], () => parseCompression(text));
  assert(typeof level !== 'number' || (level >= 1 && level <= 19));
}

const limits = fc.constantFrom('2M', '512', 'off', '1.5G', '1024b', '10M:off', '0', '8191T');
const times = fc
  .tuple(fc.constantFrom('', 'Mon-', 'saturday-'), fc.nat(23), fc.nat(59))
  .map(([day, hour, minute]) => `${day}${`${hour}`.padStart(2, '0')}:${`${minute}`.padStart(2, '0')}`);
const timetables = fc.oneof(
  limits,
  fc
    .array(fc.tuple(times, limits), { minLength: 1, maxLength: 5 })
    .map((entries) => entries.map(([time, limit]) => `${time},${limit}`).join(' ')),
);

function checkSchedule(text: string): void {
  const schedule = quotingParsed(['usage'], () => parseSchedule(text));
  if (schedule === undefined) return;
  assert(schedule.length > 0);
  for (const hour of [0, 31, 100, 167]) {
    const limit = limitAt(schedule, hour * 3_600_000);
    const isLimit = Number.isSafeInteger(limit) && Number(limit) >= LIMIT_BYTES_PER_SECOND_MIN;
    assert(limit === undefined || isLimit, `${limit}`);
  }
}

const SOURCE_BYTES = 1_000_000;
const maps = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 1900 }), fc.constantFrom<ReadStatus[]>('+', '-', '?')), {
    minLength: 1,
    maxLength: 8,
  })
  .map((runs) => {
    const areas: MapArea[] = [];
    let offset = 0;
    for (const [sectors, status] of runs) {
      const length = Math.min(sectors * 512, SOURCE_BYTES - offset);
      if (length > 0) areas.push({ offset, length, status });
      offset += length;
    }
    if (offset < SOURCE_BYTES) areas.push({ offset, length: SOURCE_BYTES - offset, status: '?' });
    return formatMapfile(areas, ['Source: /dev/sdc: a stick']);
  });

function checkMapfile(text: string): void {
  const areas = parsed(['usage'], () => parseMapfile(text, 'a.map', SOURCE_BYTES));
  if (areas === undefined) return;
  let end = 0;
  for (const { offset, length } of areas) {
    assert(offset === end && length > 0, 'without gaps');
    end += length;
  }
  assert.equal(end, SOURCE_BYTES);
  const map = new ReadMap(SOURCE_BYTES);
  map.load(areas);
  const written = formatMapfile(map.areas(), []);
  assert.equal(formatMapfile(parseMapfile(written, 'b.map', SOURCE_BYTES), []), written, 'one form');
}

const words = fc.oneof(
  fc.constantFrom('--yes', '--once', '--dry-run', '--list', '--', '/dev/sdc', 'https://x/#pin=', '-h', '-V'),
  mutatedText(
    fc.constantFrom(
      '--listen=:9000',
      '--advertise=[::1]:8443',
      '--memory=512MiB',
      '--connections=8',
      '--block-size=4MiB',
      '--bwlimit=2M',
      '--compress=zstd:3',
      '--digest=blake3',
      '--progress=json',
      '--retry-for=24h',
      '--log=json',
      '--source-size=10G',
      '--remote-dir=/srv/ddt',
      '--sender-within=45s',
      '--relay=:8443',
      'root@vm:/dev/vdd',
    ),
  ),
);

const exports = fc.constantFrom(
  'nbd://host:10809/export',
  'nbds://[2001:db8::7]/a%20b?tls-certificates=/pki&tls-hostname=vm',
  'nbd+unix:///export?socket=/run/nbd.sock',
);

const destinations = fc.constantFrom(
  'vm:/dev/vdd',
  'root@vm.example.org:disk.img',
  'root@[2001:db8::7]:/dev/vdd',
  'ssh://root@vm:2222/dev/vdd',
);

export const TEXT_PARSERS: readonly ParserProperty[] = [
  parserProperty('sizes and durations', 60, mutatedText(fc.oneof(sizes, durations)), checkUnits),
  parserProperty('bandwidth timetable', 50, mutatedText(timetables), checkSchedule),
  parserProperty('mapfile', 50, mutatedText(maps), checkMapfile),
  parserProperty('arguments', 3, fc.array(words, { maxLength: 6 }), (argv) => {
    quotingParsed(['usage'], () => parseSendArgs(argv, () => {}));
    quotingParsed(['usage'], () => parseReceiveArgs(argv, () => {}));
    quotingParsed(['usage'], () => parseFleetArgs(argv, () => {}));
  }),
  parserProperty('destination', 40, mutatedText(destinations), (text) => {
    const found = quotingParsed(['usage'], () => parseDestination(text));
    if (found === undefined) return;
    // It becomes a word of ssh's command line, and its path a line of a script.
    assert.doesNotMatch(found.login, /^-|@-|\s/);
    assert.doesNotMatch(found.path, /^$|[\n\r\0]/);
  }),
  parserProperty('name of an NBD export', 40, mutatedText(exports), (text) => {
    const found = quotingParsed(['usage'], () => parseNbdUri(text));
    if (found === undefined) return;
    const { name, place, exportName } = found;
    assert.doesNotMatch(name, /[\s\0]/, 'it is a word, and a line of the journal');
    const again = parseNbdUri(
      found.tls === undefined ? name : `${name}${'path' in place ? '&' : '?'}tls-hostname=x`,
    );
    assert.deepEqual([again.name, again.place, again.exportName], [name, place, exportName]);
  }),
  parserProperty('printable', 30, mutatedText(fc.string({ unit: 'binary' })), (text) => {
    const shown = labelOf(text);
    if (shown === null) return;
    assertShowable(shown);
    assert.equal(labelOf(shown), shown);
  }),
  parserProperty('redacted', 20, mutatedText(fc.constant('a token ddt1.eyJ2IjoxfQ.U1NIU0lH')), (text) => {
    assert.doesNotMatch(redact(text), /ddt1\.[A-Za-z0-9_-]/i);
  }),
  parserProperty(
    'device number',
    5,
    fc.tuple(fc.bigInt({ min: 0n, max: 0xffffffffn }), fc.bigInt({ min: 0n, max: 0xffffffffn })),
    ([major, minor]) => {
      const low = ((major & 0xfffn) << 8n) | (minor & 0xffn);
      const high = ((minor & 0xffffff00n) << 12n) | ((major & 0xfffff000n) << 32n);
      assert.equal(majorMinorOf(high | low), `${major}:${minor}`);
    },
  ),
];
