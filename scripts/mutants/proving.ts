/** Faults in what is proven at the start, by reading back, and at the seal. */
import type { Mutant } from './try-mutant.ts';

const VERIFY = 'receiver/durability/verify-blocks.ts';
const VERIFY_TESTS = ['test/receiver/durability/verify-blocks.test.ts'];
const SEAL = 'receiver/transfer/seal.ts';
const SEAL_TESTS = ['test/receiver/transfer/seal.test.ts'];
const TRANSFER = 'receiver/transfer/transfer.ts';
const TRANSFER_TESTS = ['test/receiver/transfer/transfer.test.ts'];
const TARGET = 'receiver/target/disk-target.ts';
const TARGET_TESTS = ['test/receiver/target/disk-target.test.ts'];
const RECEIVE_TESTS = ['test/receiver/start.test.ts'];

export const PROVING: readonly Mutant[] = [
  {
    name: 'blocks are read back from the page cache',
    file: TARGET,
    edits: [
      ['if (await this.#readAllDirect(into, offset))', 'if ((await this.read(into, offset)) === undefined)'],
    ],
    tests: TARGET_TESTS,
  },
  {
    name: 'a page cache that cannot be dropped is read back from',
    file: TARGET,
    edits: [[' throw this.#cacheKept();', ' this.#cacheKept();']],
    tests: TARGET_TESTS,
  },
  {
    name: 'a block that reads back wrong is verified',
    file: VERIFY,
    edits: [['return isEqual ? undefined :', 'return isEqual || !isEqual ? undefined :']],
    tests: VERIFY_TESTS,
  },
  {
    name: 'a block that reads back wrong stays in the journal',
    file: VERIFY,
    edits: [['this.#options.journal.forgetBlocks([number])', '{}']],
    tests: VERIFY_TESTS,
  },
  {
    name: 'a wrong block that the journal could not forget is absent in memory',
    file: VERIFY,
    edits: [
      [
        'if (!(await this.#whenRoom(() => this.#options.journal.forgetBlocks([number])))) return;',
        'await this.#whenRoom(() => this.#options.journal.forgetBlocks([number]));',
      ],
    ],
    tests: VERIFY_TESTS,
  },
  {
    name: 'a block that was read before the doubt counts as verified',
    file: VERIFY,
    edits: [['      if (doubts !== this.#doubts) return;\n', '']],
    tests: VERIFY_TESTS,
  },
  {
    name: 'a block is overwritten while it is read back',
    file: VERIFY,
    edits: [['    using _lock = await locks.lock(number, 1);\n', '    void locks;\n']],
    tests: VERIFY_TESTS,
  },
  {
    name: 'what was verified is not doubted when a block reads back wrong',
    file: VERIFY,
    edits: [['    this.#doubt(false);\n', '']],
    tests: VERIFY_TESTS,
  },
  {
    name: 'the seal does not flush',
    file: SEAL,
    edits: [['  await open.durability.flushEverything();\n  refuseBroken', '  refuseBroken']],
    tests: SEAL_TESTS,
  },
  {
    name: 'the seal does not wait for writes in flight',
    file: SEAL,
    edits: [
      [
        '  using _lock = await open.locks.lock(0, Math.max(1, open.blockCount));\n  // Another request',
        '  // Another request',
      ],
    ],
    tests: SEAL_TESTS,
  },
  {
    name: 'the root is not compared',
    file: SEAL,
    edits: [
      ['if (!(await open.root.get()).equals(request.root)) throw', 'if (request.root.length === 0) throw'],
    ],
    tests: SEAL_TESTS,
  },
  {
    name: 'what the journal lists counts as verified',
    file: 'receiver/durability/journalled-table.ts',
    edits: [['table.setListed(index, digest);', "table.set(index, 'verified', digest);"]],
    tests: ['test/receiver/start.test.ts'],
  },
  {
    name: 'the sample at the start is not compared',
    file: 'receiver/transfer/spot-check.ts',
    edits: [
      [
        'if ((await open.digest.of(bytes)).equals(open.table.digestOf(index))) return;',
        'if ((await open.digest.of(bytes)).length > 0) return;',
      ],
    ],
    tests: ['test/receiver/transfer/spot-check.test.ts'],
  },
  {
    name: 'a transfer is sealed before all of it has been read back',
    file: SEAL,
    edits: [[' && verified < open.blockCount)', ' && verified < 0)']],
    tests: VERIFY_TESTS,
  },
  {
    name: 'a seal is kept in memory only',
    file: TRANSFER,
    edits: [
      [
        '    this.journal.setProperties({ receipt: receipt.json, receiptSignature: receipt.signature });\n',
        '',
      ],
    ],
    tests: TRANSFER_TESTS,
  },
  {
    name: 'another claim may follow the first one',
    file: 'receiver/transfer/stream-size.ts',
    edits: [
      ['if (difference !== undefined) throw otherTransfer(', 'if (difference === null) throw otherTransfer('],
    ],
    tests: TRANSFER_TESTS,
  },
  {
    name: 'a claim with another digest is the same transfer',
    file: 'common/protocol/claim.ts',
    edits: [['if (digestNameOf(before) !== digestNameOf(after)) {', 'if (before === undefined) {']],
    tests: ['test/receiver/transfer/transfer-digest.test.ts'],
  },
  {
    name: 'a transfer is resumed on another target than its own',
    file: 'receiver/take-target.ts',
    edits: [['  if (hasBegun) refuseOther', '  if (!hasBegun) refuseOther']],
    tests: RECEIVE_TESTS,
  },
  {
    name: 'a run of zeros counts although others have written meanwhile',
    file: 'receiver/durability/verify-blocks.ts',
    edits: [
      [
        'if (doubts === this.#doubts) {\n      for (let index = first;',
        'if (doubts >= 0) {\n      for (let index = first;',
      ],
    ],
    tests: ['test/receiver/durability/verify-zeros.test.ts'],
  },
  {
    name: 'a run of zeros believes a part that was not read whole',
    file: 'common/io/zero-runs.ts',
    edits: [
      [
        'if (readSync(fd, part, 0, part.length, at) !== part.length) break;',
        'readSync(fd, part, 0, part.length, at);',
      ],
    ],
    tests: ['test/common/io/zero-runs.test.ts'],
  },
  {
    name: 'a run of zeros touches what a mapfile spares',
    file: 'sender/source/disk-source.ts',
    edits: [['if (!this.map.isUntried(offset, blockBytes * count)) return 0;', '']],
    tests: ['test/sender/source/disk-supply-runs.test.ts'],
  },
];
