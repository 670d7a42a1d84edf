/** Faults in what a copy leaves out of its source, and in what is said of it. */
import type { Mutant } from './try-mutant.ts';

const SOURCE = 'sender/source/leaving-out.ts';
const SOURCE_TESTS = ['test/sender/source/leaving-out.test.ts'];
const MAP = 'sender/bad-sectors/read-map.ts';
const CLAIM = 'receiver/transfer/claim.ts';
const CLAIM_TESTS = ['test/receiver/transfer/left-out.test.ts'];
const USED = 'sender/domain/used-only.ts';
const SYSTEMS = 'sender/domain/file-systems.ts';
const USED_TESTS = ['test/end-to-end/used-only.test.ts'];

export const LEAVING_OUT: readonly Mutant[] = [
  {
    name: 'what is left out keeps what was in memory',
    file: SOURCE,
    edits: [['  into.fill(0);\n', '']],
    tests: SOURCE_TESTS,
  },
  {
    name: 'a run of zeros includes blocks that are left out in part',
    file: SOURCE,
    edits: [['leftBytesOf(end) === blockBytes', 'leftBytesOf(end) > 0']],
    tests: SOURCE_TESTS,
  },
  {
    name: 'a mapfile spares a block of which a part is left out now',
    file: MAP,
    edits: [[' && areasWithin(this.#leftOut, offset, length).length === 0', '']],
    tests: SOURCE_TESTS,
  },
  {
    name: 'a mapfile lists as read what was left out',
    file: MAP,
    edits: [['areasOutside([[offset, length]], this.#leftOut)', 'areasOutside([[offset, length]], [])']],
    tests: SOURCE_TESTS,
  },
  {
    name: 'what is left out grows when it is cut to pages',
    file: 'sender/domain/left-out.ts',
    edits: [
      ['end - (end % SLAB_ALIGNMENT_BYTES)', 'Math.ceil(end / SLAB_ALIGNMENT_BYTES) * SLAB_ALIGNMENT_BYTES'],
    ],
    tests: ['test/sender/domain/domain-mapfile.test.ts'],
  },
  {
    name: 'a map that lists nothing as finished leaves out all of the source',
    file: 'sender/domain/domain-mapfile.ts',
    edits: [['if (copiedBytes === 0 && sizeBytes > 0)', 'if (copiedBytes < 0)']],
    tests: ['test/sender/domain/domain-mapfile.test.ts'],
  },
  {
    name: 'zeros of what was left out pass for what an earlier run has read',
    file: 'sender/transfer/compare-block.ts',
    edits: [['this.#parts.hasLeftOut ? withoutZeros(unread, copy, start) : unread', 'unread']],
    tests: ['test/sender/transfer/compare-block.test.ts'],
  },
  {
    name: 'a claim that leaves something out is forgotten',
    file: CLAIM,
    edits: [
      [
        'leavesOut === true && transfer.sealed === undefined',
        'leavesOut !== undefined && transfer.sealed !== undefined',
      ],
    ],
    tests: CLAIM_TESTS,
  },
  {
    name: 'the receipt does not say what was left out',
    file: 'receiver/transfer/seal.ts',
    edits: [['    leftOut,\n', '    leftOut: null,\n']],
    tests: CLAIM_TESTS,
  },
  {
    name: 'a receipt that does not say what was left out is believed',
    file: 'sender/transfer/complete.ts',
    edits: [['isSameLeftOut(seal.leftOut, leftOut)', 'seal.text !== ""']],
    tests: ['test/sender/transfer/left-out.test.ts'],
  },
  {
    name: 'something is left out although the receiver cannot say so',
    file: 'sender/transfer/left-out-note.ts',
    edits: [['hasLeftOut !== null ||', 'hasLeftOut === null ||']],
    tests: ['test/sender/transfer/left-out.test.ts'],
  },
  {
    name: 'a receipt of another map proves what this run leaves out',
    file: 'sender/send-disk.ts',
    edits: [
      ['leftOut === null || isSameLeftOut(leftOut, seal.leftOut)', 'leftOut === null || seal.text !== ""'],
    ],
    tests: ['test/end-to-end/left-out.test.ts'],
  },
  {
    name: 'the ends of a partition are left out as its map says',
    file: USED,
    edits: [
      ['Math.max(offset, ENDS_BYTES)', 'offset'],
      ['Math.min(offset + length, partBytes - ENDS_BYTES)', 'Math.min(offset + length, partBytes)'],
    ],
    tests: USED_TESTS,
  },
  {
    name: 'the map of a mounted file system is believed',
    file: USED,
    edits: [['if (use !== undefined) return', 'if (use?.text === "") return']],
    tests: USED_TESTS,
  },
  {
    name: 'the map of an xfs file system with changes in its log is believed',
    file: SYSTEMS,
    edits: [['state: <CLEAN>$/m.test(output)', 'state: <\\w+>$/m.test(output)']],
    tests: USED_TESTS,
  },
  {
    name: 'the map of an ext4 file system whose journal has to be replayed is believed',
    file: SYSTEMS,
    edits: [['const EXT_NEEDS_RECOVERY = 4;', 'const EXT_NEEDS_RECOVERY = 0;']],
    tests: USED_TESTS,
  },
  {
    name: 'the map of a fat file system that is marked as mounted is believed',
    file: SYSTEMS,
    edits: [['isFat32 ? 0x41 : 0x25', 'isFat32 ? 0x25 : 0x41']],
    tests: USED_TESTS,
  },
  {
    name: 'the map of a btrfs whose log is in no map is believed',
    file: SYSTEMS,
    edits: [['superblock.readBigUInt64LE(0x60) !== 0n', 'superblock.readBigUInt64LE(0x60) < 0n']],
    tests: ['test/end-to-end/used-volumes.test.ts'],
  },
  {
    name: 'maps that are older than the last write to the source prove the copy',
    file: 'sender/send-disk.ts',
    edits: [['isWritten && leavesOut(source) &&', 'isWritten && !leavesOut(source) &&']],
    tests: USED_TESTS,
  },
];
