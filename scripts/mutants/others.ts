/** Faults in noticing the writes of other programs, and in what a sealed copy is compared with later. */
import type { Mutant } from './try-mutant.ts';

const WATCH = 'receiver/durability/foreign-writes.ts';
const WATCH_TESTS = ['test/receiver/durability/foreign-writes.test.ts'];
const MARKS = 'receiver/target/write-marks.ts';
const MARKS_TESTS = ['test/receiver/target/write-marks.test.ts'];
const VERIFY = 'receiver/durability/verify-blocks.ts';
const TARGET = 'receiver/target/disk-target.ts';
const SEAL = 'receiver/transfer/seal.ts';
const UPDATE_TESTS = ['test/receiver/transfer/update.test.ts'];
const ADOPT = 'receiver/transfer/adopt.ts';
const COPY = 'receiver/transfer/copy-block.ts';
const RECEIPT = 'receiver/check-receipt.ts';
const RECEIPT_TESTS = ['test/receiver/check-receipt.test.ts'];

const FOREIGN_WRITES: readonly Mutant[] = [
  {
    name: 'every mark counts as unchanged',
    file: WATCH,
    edits: [
      [
        'if (before?.stamp === mark.stamp && before.foreignBytes === mark.foreignBytes) return',
        'if (mark.stamp !== before?.stamp || mark.stamp !== "") return',
      ],
    ],
    tests: WATCH_TESTS,
  },
  {
    name: 'nothing is doubted when another program has written',
    file: VERIFY,
    edits: [['    if (isForeign) this.#options.table.doubtAll();\n    else ', '    if (!isForeign) ']],
    tests: WATCH_TESTS,
  },
  {
    name: 'a block that was being read while another program wrote counts as verified',
    file: VERIFY,
    edits: [['    this.#doubts++;\n', '    if (!isForeign) this.#doubts++;\n']],
    tests: WATCH_TESTS,
  },
  {
    name: 'the flush before the seal is left out when nothing of ours is unflushed',
    file: 'receiver/durability/durability.ts',
    edits: [['    this.#isFlushForced = true;\n', '']],
    tests: WATCH_TESTS,
  },
  {
    name: 'the mark is not compared before the seal',
    file: SEAL,
    edits: [
      [
        '  if (open.verifier !== undefined && !(await open.verifier.confirm()))\n    return',
        '  if (open.verifier === undefined && open.blockCount < 0) return',
      ],
    ],
    tests: WATCH_TESTS,
  },
  {
    name: 'a writer that never stops is waited for forever',
    file: WATCH,
    edits: [['if (++this.#rounds < FOREIGN_ROUNDS_MAX) return', 'if (++this.#rounds > 0) return']],
    tests: WATCH_TESTS,
  },
  {
    name: 'the mark is first taken after the reading',
    file: VERIFY,
    edits: [
      [
        '      await this.#watch.begin();\n      for (let index = this.#next();',
        '      for (let index = this.#next();',
      ],
      ['    await this.#watch.begin();\n    await this.#watch.look();\n', '    await this.#watch.look();\n'],
      [
        '    const isUnchanged = await this.#watch.isUnchanged();\n',
        '    await this.#watch.begin();\n    const isUnchanged = await this.#watch.isUnchanged();\n',
      ],
    ],
    tests: WATCH_TESTS,
  },
  {
    name: 'a first mark that could not be taken is equal to the next one',
    file: WATCH,
    edits: [['    if (before?.stamp === mark', '    if (before === NO_MARK || before?.stamp === mark']],
    tests: WATCH_TESTS,
  },
  {
    name: "the kernel's count is ignored",
    file: MARKS,
    edits: [['{ foreignBytes: Math.max(0, foreignBytes), stamp', '{ foreignBytes: 0, stamp']],
    tests: MARKS_TESTS,
  },
  {
    name: "only a partition's own counter is read",
    file: MARKS,
    edits: [['  if (folder === diskFolder) return', '  if (diskFolder.length > 0) return']],
    tests: MARKS_TESTS,
  },
  {
    name: 'writes to other partitions count as foreign',
    file: MARKS,
    edits: [['return all - others;', 'return all;']],
    tests: MARKS_TESTS,
  },
  {
    name: 'discarded bytes are not counted',
    file: MARKS,
    edits: [[' + (fields[DISCARDED_FIELD] ?? 0);', ' + 0 * DISCARDED_FIELD;']],
    tests: MARKS_TESTS,
  },
  {
    name: 'our own writes count as foreign',
    file: MARKS,
    edits: [['countBytes - this.#baseBytes - this.#ownBytes;', 'countBytes - this.#baseBytes;']],
    tests: MARKS_TESTS,
  },
  {
    name: 'our own writes are subtracted twice',
    file: MARKS,
    edits: [
      [
        'countBytes - this.#baseBytes - this.#ownBytes;',
        'countBytes - this.#baseBytes - 2 * this.#ownBytes;',
      ],
    ],
    tests: MARKS_TESTS,
  },
  {
    name: 'the rest of a sector that we write counts as foreign',
    file: TARGET,
    edits: [['this.#marks.begin(sectorBytes - bytes.length);', 'this.#marks.begin(0);']],
    tests: MARKS_TESTS,
  },
  {
    name: 'zeros that we punch count as foreign',
    file: TARGET,
    edits: [['    this.#marks.begin(lengthBytes);\n', '    this.#marks.begin(0);\n']],
    tests: MARKS_TESTS,
  },
  {
    name: 'a failed write of ours keeps the base of the count',
    file: MARKS,
    edits: [['    this.#isRebasePending = true;\n', '']],
    tests: MARKS_TESTS,
  },
  {
    name: 'the base of the count is taken while a write of ours is in progress',
    file: MARKS,
    edits: [['this.#isRebasePending && isQuiet)', 'this.#isRebasePending)']],
    tests: MARKS_TESTS,
  },
  {
    name: 'a mark from before a new base equals one after it',
    file: MARKS,
    edits: [['      this.#rebases++;\n      this.#baseBytes', '      this.#baseBytes']],
    tests: MARKS_TESTS,
  },
  {
    name: 'a count that is too small is believed',
    file: MARKS,
    edits: [['    if (foreignBytes < 0 && isQuiet) this.loseCount();\n', '']],
    tests: MARKS_TESTS,
  },
  {
    name: 'a write of ours that ends while the count is read makes it useless',
    file: MARKS,
    edits: [
      ['const isQuiet = begun === this.#begun;', 'const isQuiet = begun !== -1 && this.#inProgress === 0;'],
    ],
    tests: MARKS_TESTS,
  },
  {
    name: "a file's times are not compared",
    file: MARKS,
    edits: [['`${size} ${mtimeNs} ${ctimeNs}`', '`${size} ${0n * mtimeNs * ctimeNs}`']],
    tests: MARKS_TESTS,
  },
  {
    name: "a file's mark may be as young as its last write",
    file: MARKS,
    edits: [['const TICK_MS = 20;', 'const TICK_MS = 0;']],
    tests: MARKS_TESTS,
  },
  {
    name: 'a file that is written without a pause is waited for forever',
    file: MARKS,
    edits: [['nowMs - startMs > BUSY_FILE_MS', 'nowMs < startMs']],
    tests: MARKS_TESTS,
  },
];

const SEALED_COPIES: readonly Mutant[] = [
  {
    name: 'a target that holds nothing of the transfer is resumed',
    file: 'receiver/transfer/spot-check.ts',
    edits: [['  if (drawn.length === 0) return;\n', '  if (drawn.length >= 0) return;\n']],
    tests: ['test/receiver/transfer/spot-check.test.ts'],
  },
  {
    name: 'a sealed transfer is not read again',
    file: 'receiver/transfer/stream-size.ts',
    edits: [['  if (transfer.sealed !== undefined) transfer.readAgain();\n', '']],
    tests: UPDATE_TESTS,
  },
  {
    name: 'a sealed transfer gets a new date before it has been read again',
    file: SEAL,
    edits: [
      ["  if (verified + different < open.blockCount) return { outcome: 'verifying', verified };\n", ''],
    ],
    tests: UPDATE_TESTS,
  },
  {
    name: 'a sealed target that differs is confirmed',
    file: SEAL,
    edits: [['  if (different > 0) throw targetDiffers(transfer, open);\n', '']],
    tests: UPDATE_TESTS,
  },
  {
    name: 'the journal forgets what was sealed and differs',
    file: VERIFY,
    edits: [['    if (this.#options.isSealed()) {', '    if (this.#options.isSealed() && offset < 0) {']],
    tests: UPDATE_TESTS,
  },
  {
    name: 'an update forgets the earlier receipt',
    file: 'receiver/transfer/receipts.ts',
    edits: [['{ earlierReceipts: JSON.stringify(all), ...properties }', 'properties']],
    tests: UPDATE_TESTS,
  },
  {
    name: 'the blocks that a smaller source does not have in full are kept',
    file: 'receiver/transfer/update.ts',
    edits: [['  await forgetFrom(transfer, open, both);\n', '']],
    tests: UPDATE_TESTS,
  },
  {
    name: 'a write that waited while the size changed is journalled for the old size',
    file: 'receiver/transfer/write-block.ts',
    edits: [
      ['  if (transfer.writable() === open) return;\n', '  if (transfer.writable() !== undefined) return;\n'],
    ],
    tests: UPDATE_TESTS,
  },
  {
    name: 'an adoption lists blocks without reading them',
    file: ADOPT,
    edits: [
      [
        '      await this.#transfer.target.readBack(bytes, offsetOf(index, geometry));\n',
        '      void offsetOf;\n',
      ],
    ],
    tests: UPDATE_TESTS,
  },
  {
    name: 'an adoption records its end before its blocks',
    file: ADOPT,
    edits: [['{ [CURSOR]: String(end) }', '{ [CURSOR]: String(this.#next) }']],
    tests: UPDATE_TESTS,
  },
  {
    name: 'the source of a copied block is not compared with the digest when it is read',
    file: COPY,
    edits: [
      [
        '  if ((await open.digest.of(bytes)).equals(digest)) return;',
        '  if ((await open.digest.of(bytes)).length > 0) return;',
      ],
    ],
    tests: UPDATE_TESTS,
  },
  {
    name: 'a block is copied whatever digest is listed for its source',
    file: COPY,
    edits: [
      [
        '!open.table.isDurable(from) || !open.table.digestOf(from).equals(digest)',
        '!open.table.isDurable(from)',
      ],
    ],
    tests: UPDATE_TESTS,
  },
  {
    name: 'the digests beside a receipt are not compared with its root',
    file: 'common/receipt/signed-receipt.ts',
    edits: [['if (!isWhole || `sha256:', 'if (!isWhole && `sha256:']],
    tests: RECEIPT_TESTS,
  },
  {
    name: 'a block that differs from its receipt is not counted',
    file: RECEIPT,
    edits: [[' || !(await parts.digest.of(bytes)).equals(expected)) different', ') different']],
    tests: RECEIPT_TESTS,
  },
];

export const OTHERS: readonly Mutant[] = [...FOREIGN_WRITES, ...SEALED_COPIES];
