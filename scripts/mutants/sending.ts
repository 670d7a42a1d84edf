/** Faults in what the sender believes. */
import type { Mutant } from './try-mutant.ts';

const TRANSMISSION = 'sender/transfer/transmission.ts';
const SEND_TESTS = ['test/sender/transfer/send.test.ts'];
const RESPONSES = 'sender/client/responses.ts';
const RESPONSES_TESTS = ['test/sender/client/responses.test.ts'];
const OWED = 'sender/transfer/owed-blocks.ts';
const OWED_TESTS = ['test/sender/transfer/owed-blocks.test.ts'];

export const SENDING: readonly Mutant[] = [
  {
    name: 'a receipt of another block is believed',
    file: RESPONSES,
    edits: [['    index !== request.index ||\n', '']],
    tests: RESPONSES_TESTS,
  },
  {
    name: 'a receipt of other bytes is believed',
    file: RESPONSES,
    edits: [["result[DIGEST_NAMES[request.algorithm]] !== request.digest.toString('hex')", 'false']],
    tests: RESPONSES_TESTS,
  },
  {
    name: 'a receipt of other zeros is believed',
    file: RESPONSES,
    edits: [
      [
        "if (!isSameRanges(ranges, requested)) throw badResponse('not for the ranges that were sent');",
        'void ranges;',
      ],
    ],
    tests: RESPONSES_TESTS,
  },
  {
    name: 'a seal with another root is believed',
    file: RESPONSES,
    edits: [["    root === `sha256:${request.root.toString('hex')}`;", '    root !== undefined;']],
    tests: ['test/sender/client/responses-seal.test.ts'],
  },
  {
    name: 'a seal over digests of another kind is believed',
    file: RESPONSES,
    edits: [['    digest === request.algorithm &&\n', '']],
    tests: ['test/sender/client/responses-seal.test.ts'],
  },
  {
    name: 'a seal that does not say how it was verified is believed',
    file: RESPONSES,
    edits: [["if (verified !== 'none' && verified !== 'read-back')", 'if (verified === undefined)']],
    tests: ['test/sender/client/responses-seal.test.ts'],
  },
  {
    name: 'a block is settled by the generation of another epoch',
    file: OWED,
    edits: [['blocks.epoch === epoch && blocks.generation', 'blocks.generation']],
    tests: OWED_TESTS,
  },
  {
    name: 'blocks that are owed are forgotten with their epoch',
    file: OWED,
    edits: [
      [
        'else if (blocks.epoch !== current) lost.push(blocks);',
        'else if (blocks.epoch !== current) continue;',
      ],
    ],
    tests: OWED_TESTS,
  },
  {
    name: 'a receipt of an ended epoch is owed in the current one',
    file: OWED,
    edits: [['    if (blocks.epoch !== this.#epochs.at(-1)) return false;\n', '']],
    tests: OWED_TESTS,
  },
  {
    name: 'a response that was overtaken makes its epoch the current one for good',
    file: OWED,
    edits: [['this.#epochs.includes(epoch) && requestedMs <= this.#sinceMs', 'this.#epochs.includes(epoch)']],
    tests: OWED_TESTS,
  },
  {
    name: 'a late response of an ended epoch makes it the current one',
    file: OWED,
    edits: [
      [
        '    if (this.#epochs.includes(epoch) && requestedMs <= this.#sinceMs) return;\n',
        '    void requestedMs;\n',
      ],
    ],
    tests: OWED_TESTS,
  },
  {
    name: 'blocks that were lost with their epoch are not sent again',
    file: TRANSMISSION,
    edits: [
      [
        '          this.#supply.putBack(index, digest ?? this.#supply.describer.zeroDigests.of(index));\n',
        '          void digest;\n',
      ],
    ],
    tests: SEND_TESTS,
  },
  {
    name: 'a receipt of another transfer is believed',
    file: 'sender/transfer/send-block.ts',
    edits: [['if (result.transferId !== transferId)', 'if (result.transferId === undefined)']],
    tests: SEND_TESTS,
  },
  {
    name: 'after a lost response, any block in its place is accepted',
    file: 'sender/transfer/send-block.ts',
    edits: [["if (head !== 'absent' && isAsSent(head, block))", "if (head !== 'absent')"]],
    tests: SEND_TESTS,
  },
  {
    name: 'a listed block is skipped whatever its bytes are',
    file: 'sender/transfer/compare-block.ts',
    edits: [['isThere = isEqual && isSame', 'isThere = isSame']],
    tests: SEND_TESTS,
  },
  {
    name: 'while the target is full every lane sends its block again',
    file: 'sender/transfer/full-target.ts',
    edits: [['if (this.#trial !== undefined) return false;', '']],
    tests: ['test/sender/transfer/retry-outages.test.ts'],
  },
  {
    name: 'a block that changed before it was sent again goes unnoticed',
    file: 'sender/source/disk-supply.ts',
    edits: [['if (digest !== undefined && !digest.equals', 'if (digest === null && !digest']],
    tests: SEND_TESTS,
  },
  {
    name: 'any failure while missing blocks are sent again counts as a seal',
    file: 'sender/transfer/complete.ts',
    edits: [["    if (!(error instanceof TransferError) || error.code !== 'sealed') throw error;\n", '']],
    tests: SEND_TESTS,
  },
  {
    name: 'the root takes the digests in the order in which they come',
    file: 'common/digest/digest.ts',
    edits: [['if (index !== this.#next) {', 'if (index < 0) {']],
    tests: ['test/common/digest/digest.test.ts'],
  },
];
