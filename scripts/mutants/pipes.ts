/** Faults in what becomes of a pipe, and of a size that becomes known or is corrected. */
import type { Mutant } from './try-mutant.ts';

const SUPPLY = 'sender/source/stream-supply.ts';
const UPDATE = 'receiver/transfer/update.ts';
const RESIZE_TESTS = ['test/receiver/transfer/resize.test.ts'];
const SIZE = 'receiver/transfer/stream-size.ts';
const SIMULATED = ['test/simulation/pipes.test.ts'];

export const PIPES: readonly Mutant[] = [
  {
    name: 'a block of a pipe is dropped when it was sent',
    file: SUPPLY,
    edits: [
      [
        'return supplied(block, true);',
        'return { block, isFirst: true, [Symbol.dispose]: () => this.release([[block.index, 1]]) };',
      ],
    ],
    tests: SIMULATED,
  },
  {
    name: 'the end of a pipe is believed at once',
    file: SUPPLY,
    edits: [['    await clock.sleep(END_GRACE_MS, signal);\n', '    void clock;\n']],
    tests: SIMULATED,
  },
  {
    name: 'the last block of a pipe is sent before the size is known',
    file: SUPPLY,
    edits: [
      [
        'await onEnd(offset + lengthBytes, signal);',
        'void onEnd(offset + lengthBytes, signal).catch(() => {});',
      ],
    ],
    tests: SIMULATED,
  },
  {
    name: 'a lost block of a pipe is not sent again',
    file: SUPPLY,
    edits: [['    this.#again.push(index);\n', '']],
    tests: SIMULATED,
  },
  {
    name: 'lost blocks do not keep a pipe that has ended from being complete',
    file: SUPPLY,
    edits: [['return this.#hasEnded && this.#again.length === 0;', 'return this.#hasEnded;']],
    tests: SIMULATED,
  },
  {
    name: 'nobody asks for a flush when all memory holds blocks of a pipe',
    file: SUPPLY,
    edits: [['      await flush();\n', '']],
    tests: SIMULATED,
  },
  {
    name: 'the rest of what a read of a pipe gave is dropped',
    file: 'sender/source/chunk-stream.ts',
    edits: [['taken < chunk.length ? chunk.subarray(taken) : undefined', 'undefined']],
    tests: SIMULATED,
  },
  {
    name: 'a pipe that ends before its --source-size is complete',
    file: 'sender/source/make-supply.ts',
    edits: [['status.size !== null && sizeBytes < status.size', 'status.size === -1']],
    tests: SIMULATED,
  },
  {
    name: 'a file stays as long as a pipe might have been',
    file: 'receiver/transfer/open-transfer.ts',
    edits: [['sizeBytesMax !== undefined && !target.isSizeFixed', 'sizeBytesMax === -1']],
    tests: SIMULATED,
  },
  {
    name: 'a file is cut while the journal lists what is behind the end',
    file: UPDATE,
    edits: [['  if (!isShorter) {\n', '  if (claim.size >= 0) {\n']],
    tests: RESIZE_TESTS,
  },
  {
    name: 'a write of ours that never became durable passes for one of others',
    file: 'receiver/transfer/write-block.ts',
    edits: [['    verifier?.noteOwnWrites();\n', '']],
    tests: ['test/receiver/durability/foreign-writes.test.ts'],
  },
  {
    name: 'a file that got longer for a claim that failed stays longer',
    file: UPDATE,
    edits: [['    open.isCutPending = !target.isSizeFixed;\n', '']],
    tests: RESIZE_TESTS,
  },
  {
    name: 'blocks that the journal has forgotten are still durable',
    file: UPDATE,
    edits: [["  for (const index of gone) table.set(index, 'absent');\n", '']],
    tests: RESIZE_TESTS,
  },
  {
    name: 'the size of a sealed transfer is changed',
    file: UPDATE,
    edits: [['  refuseStale(transfer, open);\n', '']],
    tests: RESIZE_TESTS,
  },
  {
    name: 'a size that was given up is sealed',
    file: 'receiver/transfer/seal.ts',
    edits: [['  refuseStale(transfer, open);\n', '']],
    tests: RESIZE_TESTS,
  },
  {
    name: 'after a change of the size two flushers share the errors of the target',
    file: 'receiver/transfer/open-transfer.ts',
    edits: [['    previous?.durability ?? new Durability', '    new Durability']],
    tests: RESIZE_TESTS,
  },
  {
    name: 'a start leaves a file longer or shorter than its transfer',
    file: SIZE,
    edits: [['if (target.isSizeFixed || (await', 'if (!target.isSizeFixed || (await']],
    tests: RESIZE_TESTS,
  },
];
