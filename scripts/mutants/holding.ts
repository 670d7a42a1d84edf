/** Faults in what holders of a ticket are kept from. */
import type { Mutant } from './try-mutant.ts';

const REOPEN_TESTS = ['test/receiver/transfer/reopen.test.ts'];
const SCOPE_TESTS = ['test/receiver/http/routes-scopes.test.ts'];
const UNREAD_TESTS = ['test/receiver/http/unread-responses.test.ts'];
const TABLE_TESTS = ['test/receiver/durability/block-table.test.ts'];
const REPAIRED = 'receiver/transfer/repaired-block.ts';
const WRITE = 'receiver/transfer/write-block.ts';
const TABLE = 'receiver/durability/block-table.ts';

export const HOLDING: readonly Mutant[] = [
  {
    name: 'the scope of a token is not looked at',
    file: 'common/trust/token.ts',
    edits: [["return isAllowed(payload, expected.scope) ? undefined : 'scope';", 'return undefined;']],
    tests: SCOPE_TESTS,
  },
  {
    name: 'a token that allows to read may write',
    file: 'receiver/http/app.ts',
    edits: [
      ["method === 'GET' || method === 'HEAD' ? 'read' : 'write'", "method === 'NONE' ? 'write' : 'read'"],
    ],
    tests: SCOPE_TESTS,
  },
  {
    name: 'a token that allows to read holds the transfer as its sender',
    file: 'receiver/http/app.ts',
    edits: [["sender !== undefined && context.get('isWriter')", 'sender !== undefined']],
    tests: SCOPE_TESTS,
  },
  {
    name: 'a member of a token that is there twice is not noticed',
    file: 'common/trust/token.ts',
    edits: [['isPayload(value) && membersIn(text) === PAYLOAD_KEYS.length', 'isPayload(value)']],
    tests: ['test/common/trust/token.test.ts'],
  },
  {
    name: 'the memory of a block is free before it was sent',
    file: 'receiver/http/block-routes.ts',
    edits: [
      ['    onEnd: () => sent.dispose(),\n', ''],
      ['const sent = held.move();', 'held.dispose();'],
    ],
    tests: UNREAD_TESTS,
  },
  {
    name: 'blocks that are read take all the memory',
    file: 'receiver/transfer/open-transfer.ts',
    edits: [['Math.floor(slabCount / 2 / transferCount)', 'slabCount']],
    tests: UNREAD_TESTS,
  },
  {
    name: 'a client that does not read a block is waited for',
    file: 'receiver/http/chunked-response.ts',
    edits: [['setTimeout(() => outgoing.destroy(), timeoutMs)', 'setTimeout(() => {}, timeoutMs)']],
    tests: UNREAD_TESTS,
  },
  {
    name: 'any number of requests of a connection wait',
    file: 'receiver/http/request-turns.ts',
    edits: [['waiting.length < PIPELINED_MAX', 'waiting.length >= 0']],
    tests: UNREAD_TESTS,
  },
  {
    name: 'requests of a connection are answered at once',
    file: 'receiver/http/request-turns.ts',
    edits: [['if (waiting === undefined) {', 'if (waiting?.length !== -1) {']],
    tests: UNREAD_TESTS,
  },
  {
    name: 'missing blocks are searched one by one',
    file: TABLE,
    edits: [['if (count === 0 || count === length) continue;', '']],
    tests: TABLE_TESTS,
  },
  {
    name: 'a doubt does not reach the blocks',
    file: TABLE,
    edits: [['    this.#settle(chunk);\n    return this.#kinds[index] ?? ABSENT;', '    return kind;']],
    tests: TABLE_TESTS,
  },
  {
    name: 'the root is remembered although a block has changed',
    file: 'receiver/durability/table-root.ts',
    edits: [['this.#known?.version === version', 'this.#known !== undefined']],
    tests: ['test/receiver/durability/table-root.test.ts'],
  },
  {
    name: 'the root of a large table is computed in one go',
    file: 'receiver/durability/table-root.ts',
    edits: [['if (at > 0) await othersTurn();', '']],
    tests: ['test/receiver/durability/table-root.test.ts'],
  },
  {
    name: 'the journal is written in one go after a flush',
    file: 'receiver/durability/durability.ts',
    edits: [['generation > upTo || blocks.length === RECORDED_BLOCKS_MAX', 'generation > upTo']],
    tests: ['test/receiver/durability/durability.test.ts'],
  },
  {
    name: 'unreadable areas are not counted',
    file: WRITE,
    edits: [['  refuseTooManyAreas(open, index, unreadable);\n', '']],
    tests: REOPEN_TESTS,
  },
  {
    name: 'unreadable areas may hold anything',
    file: WRITE,
    edits: [['  if (sent !== undefined) refuseFilledAreas(sent, unreadable, offset);\n', '']],
    tests: REOPEN_TESTS,
  },
  {
    name: 'a transfer that was opened again takes any block',
    file: REPAIRED,
    edits: [['if (reopened === undefined || reopened.has(index)) return;', 'if (index >= 0) return;']],
    tests: REOPEN_TESTS,
  },
  {
    name: 'a repaired block is not compared with what was sealed',
    file: REPAIRED,
    edits: [['if (sealed.equals(', 'if (sealed.length > 0 || sealed.equals(']],
    tests: REOPEN_TESTS,
  },
  {
    name: 'sealed bytes may become unreadable',
    file: REPAIRED,
    edits: [['areasOutside(unreadable, areas).length > 0', 'unreadable.length > 1000']],
    tests: REOPEN_TESTS,
  },
  {
    name: 'what was sealed is forgotten by a restart',
    file: 'receiver/transfer/transfer.ts',
    edits: [['if (reopened !== undefined && this.#sealed === undefined)', "if (reopened === '')"]],
    tests: REOPEN_TESTS,
  },
  {
    name: 'zeros overwrite what was sealed',
    file: WRITE,
    edits: [['      refuseOtherZeros(transfer, open, range);\n', '']],
    tests: REOPEN_TESTS,
  },
  {
    name: 'a copy overwrites what was sealed',
    file: 'receiver/transfer/copy-block.ts',
    edits: [['if (transfer.reopened !== undefined)', "if (what === '')"]],
    tests: REOPEN_TESTS,
  },
  {
    name: 'the receipt after a sealed transfer was opened again does not name the one before',
    file: 'receiver/transfer/receipts.ts',
    edits: [['{ earlierReceipts: JSON.stringify(all), ...properties }', 'properties']],
    tests: REOPEN_TESTS,
  },
  {
    name: 'text that is turned around is shown',
    file: 'common/text.ts',
    edits: [['[\\p{C}\\p{Zl}', '[\\p{Cc}\\p{Zl}']],
    tests: ['test/common/text.test.ts'],
  },
  {
    name: 'what a claim says of its source is shown as it is',
    file: 'receiver/http/transfer-routes.ts',
    edits: [['return printable(value.slice(0, DESCRIPTION_LENGTH_MAX));', 'return value;']],
    tests: ['test/receiver/http/routes-transfer.test.ts'],
  },
];
