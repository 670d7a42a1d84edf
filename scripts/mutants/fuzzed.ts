/** Faults that random inputs must find: in parsers of foreign input, and at the socket. */
import type { Mutant } from './try-mutant.ts';

const PARSERS = ['test/fuzz/parsers.test.ts'];
const SOCKET = ['test/fuzz/receiver.test.ts'];

export const FUZZED: readonly Mutant[] = [
  {
    name: 'a token may be spelt in another way',
    file: 'common/trust/token.ts',
    edits: [["return bytes.toString('base64url') === text ? bytes : undefined;", 'return bytes;']],
    tests: PARSERS,
  },
  {
    name: 'a signature may have something behind it',
    file: 'common/trust/ssh-wire.ts',
    edits: [['if (bytes.length - at < 4) return undefined;', 'if (bytes.length - at < 4) return strings;']],
    tests: PARSERS,
  },
  {
    name: 'unreadable areas may overlap',
    file: 'common/areas.ts',
    edits: [['at === 0 || offset > endOf(areas[at - 1])', 'at === 0 || offset >= 0']],
    tests: PARSERS,
  },
  {
    name: 'a text of the receiver may turn the direction of text',
    file: 'common/text.ts',
    edits: [['/[\\p{C}\\p{Zl}\\p{Zp}\\p{Default_Ignorable_Code_Point}]/gu', '/\\p{Cc}/gu']],
    tests: PARSERS,
  },
  {
    name: 'a member of a status that is not a number is converted to one',
    file: 'sender/client/status-response.ts',
    edits: [
      ["if (!isCount(size) || !isCount(blockSize)) throw badResponse('no size');", ''],
      [
        'const geometry = { sizeBytes: size, blockSizeBytes: blockSize };',
        'const found = { size: Number(size), blockSize: Number(blockSize) };\n' +
          '  const geometry = { sizeBytes: found.size, blockSizeBytes: found.blockSize };',
      ],
      [
        'return { size, blockSize, blockCount: blockCountOf(geometry), sizeMax: null };',
        'return { ...found, blockCount: blockCountOf(geometry), sizeMax: null };',
      ],
    ],
    tests: PARSERS,
  },
  {
    name: 'the areas of a damaged journal are believed',
    file: 'receiver/journal/journal-pages.ts',
    edits: [['if (listed === undefined) throw', 'if (listed === null) throw']],
    tests: PARSERS,
  },
  {
    name: 'a mapfile may have gaps',
    file: 'sender/bad-sectors/mapfile.ts',
    edits: [['if (area.offset !== expected) {', 'if (area.offset < expected) {']],
    tests: PARSERS,
  },
  {
    name: 'what a decoder returns may be shorter than the block',
    file: 'receiver/http/read-body.ts',
    edits: [['if (plainBytes !== lengthBytes) throw', 'if (plainBytes > lengthBytes) throw']],
    tests: PARSERS,
  },
  {
    name: 'a receipt is shown as it is',
    file: 'common/receipt/signed-receipt.ts',
    edits: [["labelOf(value.target.path) ?? 'an unnamed target'", 'value.target.path']],
    tests: PARSERS,
  },
  {
    name: 'an expired token is accepted',
    file: 'common/trust/token.ts',
    edits: [["if (payload.exp <= expected.nowSeconds) return 'token-expired';", '']],
    tests: SOCKET,
  },
  {
    name: 'a block is written without its digest compared',
    file: 'receiver/http/digest-headers.ts',
    edits: [
      [
        'if ((await by.of(bytes)).equals(expected)) continue;',
        'if ((await by.of(bytes)).length > 0) continue;',
      ],
    ],
    tests: SOCKET,
  },
  {
    name: 'a block is written beside its place',
    file: 'receiver/transfer/write-block.ts',
    edits: [
      [
        'await transfer.target.write(sent, offset, digest);',
        'await transfer.target.write(sent, index === 7 ? offset - 512 : offset, digest);',
      ],
    ],
    tests: SOCKET,
  },
  {
    name: 'a sealed transfer can be written',
    file: 'receiver/transfer/transfer.ts',
    edits: [
      [
        "if (this.#sealed !== undefined) {\n      throw new TransferError('sealed', 'this",
        "if (this.#sealed === null) {\n      throw new TransferError('sealed', 'this",
      ],
    ],
    tests: SOCKET,
  },
  {
    name: 'the log shows what strangers send as it is',
    file: 'receiver/console/log.ts',
    edits: [['printable(redact(line))', 'redact(line)']],
    tests: SOCKET,
  },
  {
    name: 'a body that is not JSON is a bug of the receiver',
    file: 'receiver/http/transfer-routes.ts',
    edits: [
      ["throw new TransferError('bad-request', 'the body is not JSON', { cause: error });", 'throw error;'],
    ],
    tests: SOCKET,
  },
];
