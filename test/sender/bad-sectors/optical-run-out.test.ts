import assert from 'node:assert/strict';
import { test } from 'node:test';
import { caveatsOf } from '../../../sender/preflight/caveats.ts';
import { isoSizeOf, runOutOf, runOutText, type RunOut } from '../../../sender/bad-sectors/optical-run-out.ts';

const ISO_BYTES = 300 * 2048;

function descriptorOf(blocks: number, blockBytes: number): Buffer {
  const descriptor = Buffer.alloc(2048);
  descriptor.write('\u0001CD001\u0001', 'latin1');
  descriptor.writeUInt32LE(blocks, 80);
  descriptor.writeUInt32BE(blocks, 84);
  descriptor.writeUInt16LE(blockBytes, 128);
  return descriptor;
}

test('the end of the file system is what isosize says', () => {
  assert.equal(isoSizeOf(descriptorOf(300, 2048)), ISO_BYTES);
  assert.equal(isoSizeOf(Buffer.alloc(2048)), undefined);
  assert.equal(isoSizeOf(Buffer.alloc(10)), undefined);
  const supplementary = descriptorOf(300, 2048);
  supplementary[0] = 2;
  assert.equal(isoSizeOf(supplementary), undefined);
});

test('a run-out is what lies behind the file system of an optical disc, and little of it', () => {
  const descriptor = descriptorOf(300, 2048);
  const disc = { sizeBytes: ISO_BYTES + 4096, logicalSectorBytes: 2048 };
  assert.deepEqual(runOutOf(disc, descriptor), { isoSizeBytes: ISO_BYTES, sizeBytes: disc.sizeBytes });
  // An ISO on a stick; a disc of several sessions; none behind.
  assert.equal(runOutOf({ ...disc, logicalSectorBytes: 512 }, descriptor), undefined);
  assert.equal(runOutOf({ ...disc, sizeBytes: ISO_BYTES + 2 ** 21 }, descriptor), undefined);
  assert.equal(runOutOf({ ...disc, sizeBytes: ISO_BYTES }, descriptor), undefined);
});

test('only unreadable areas that reach to the end are called that', () => {
  const runOut: RunOut = { isoSizeBytes: ISO_BYTES, sizeBytes: ISO_BYTES + 6144 };
  const text = runOutText(runOut, '/dev/sr0', [
    [2048, 2048],
    [ISO_BYTES + 2048, 4096],
  ]);
  assert.equal(
    text,
    'the last 4 KiB of /dev/sr0 are past the end of the file system (isosize 614400): ' +
      'run-out of the disc, not data',
  );
  assert.equal(runOutText(runOut, '/dev/sr0', [[ISO_BYTES + 2048, 2048]]), undefined);
  assert.equal(runOutText(runOut, '/dev/sr0', [[ISO_BYTES - 2048, 8192]]), undefined);
  assert.equal(runOutText(undefined, '/dev/sr0', [[ISO_BYTES + 2048, 4096]]), undefined);
});

test('a copy with unreadable areas is no proof, and says where their list is', () => {
  const description = { description: 'optical drive', path: '/dev/sr0', model: null, serial: null };
  const runOut: RunOut = { isoSizeBytes: ISO_BYTES, sizeBytes: ISO_BYTES + 4096 };
  const source = { description, runOut };
  assert.deepEqual(caveatsOf({ verified: 'read-back', unreadable: [] }, source, []), []);
  const facts = { verified: 'none', unreadable: [[ISO_BYTES, 4096]] } as const;
  const caveats = caveatsOf(facts, source, ['a.json', 'b.map']);
  const warnings = caveats.map(({ warning }) => warning);
  assert.equal(warnings.length, 3);
  assert.match(warnings[0] ?? '', /nothing was read back/);
  assert.match(warnings[1] ?? '', /^4096 bytes in 1 area of \/dev\/sr0 .*; listed in a.json and b.map$/);
  assert.match(warnings[2] ?? '', /^the last 4 KiB of \/dev\/sr0 .*not data$/);
  // No drive can read it.
  assert(caveats.every(({ hint }) => hint === undefined));
  const damaged = { verified: 'read-back', unreadable: [[0, 2048]] } as const;
  assert.match(caveatsOf(damaged, source, [])[0]?.hint ?? '', /run the same command again/);
});
