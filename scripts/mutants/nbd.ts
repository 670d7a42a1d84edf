/** Faults in what is believed of an NBD server and of the first bytes of a file. */
import type { Mutant } from './try-mutant.ts';

const REPLIES = 'common/nbd/replies.ts';
const CONNECTION = 'common/nbd/nbd-connection.ts';
const EXPORT = 'common/nbd/nbd-export.ts';
const HANDSHAKE = 'common/nbd/handshake.ts';
const IMAGE = 'common/nbd/image-format.ts';
const HOSTILE_TESTS = ['test/common/nbd/hostile-server.test.ts'];
const EXPORT_TESTS = ['test/common/nbd/nbd-export.test.ts'];
const IMAGE_TESTS = ['test/common/nbd/image-format.test.ts'];

export const NBD: readonly Mutant[] = [
  {
    name: 'a reply may leave data out',
    file: CONNECTION,
    edits: [['waiting.into !== undefined && !isWhole(waiting)', 'false']],
    tests: HOSTILE_TESTS,
  },
  {
    name: 'a reply has any number of parts',
    file: REPLIES,
    edits: [['if (++request.chunkCount > CHUNKS_MAX)', 'if (++request.chunkCount < 0)']],
    tests: HOSTILE_TESTS,
  },
  {
    name: 'a server that does not encrypt is talked to without',
    file: HANDSHAKE,
    edits: [['if (refusal !== undefined) {\n      throw new', 'if (refusal === "") {\n      throw new']],
    tests: HOSTILE_TESTS,
  },
  {
    name: 'what comes before the handshake of TLS counts',
    file: HANDSHAKE,
    edits: [['if (this.#incoming.release().length > 0)', 'if (this.#incoming.release().length < 0)']],
    tests: HOSTILE_TESTS,
  },
  {
    name: 'a flush after a lost connection succeeds',
    file: EXPORT,
    edits: [['    if (this.#isDoubtful) throw this.#lostWrites();\n', '']],
    tests: EXPORT_TESTS,
  },
  {
    name: 'a write in flight is not doubted when the connection is lost',
    file: EXPORT,
    edits: [['this.#isDirty || this.#changing > 0', 'this.#isDirty']],
    tests: EXPORT_TESTS,
  },
  {
    name: 'an export of another size is used on',
    file: EXPORT,
    edits: [['before.sizeBytes === now.sizeBytes &&\n', 'before.sizeBytes > 0 &&\n']],
    tests: EXPORT_TESTS,
  },
  {
    name: 'requests are as large as this side likes',
    file: EXPORT,
    edits: [['Math.min(payloadBytesMax, Math.max(', 'Math.max(payloadBytesMax, Math.max(']],
    tests: EXPORT_TESTS,
  },
  {
    name: 'the first bytes alone make an image',
    file: IMAGE,
    edits: [
      [
        "const wanted = choice === 'auto' ? named : choice;",
        "const wanted = choice === 'auto' ? found : choice;",
      ],
    ],
    tests: IMAGE_TESTS,
  },
  {
    name: 'a backing file is opened',
    file: IMAGE,
    edits: [['if (head.readBigUInt64BE(8) !== 0n)', 'if (head.readBigUInt64BE(8) < 0n)']],
    tests: IMAGE_TESTS,
  },
  {
    name: 'a list of files in a sparse header is followed',
    file: IMAGE,
    edits: [["if (capacity === 0n) return 'only", "if (sector === 0n) return 'only"]],
    tests: IMAGE_TESTS,
  },
  {
    name: 'a target that was lost and found counts as written by others',
    file: 'receiver/durability/foreign-writes.ts',
    edits: [['before === undefined || before.lossCount !== mark.lossCount', 'before === undefined']],
    tests: ['test/receiver/durability/foreign-writes.test.ts'],
  },
  {
    name: 'a copy of bytes becomes one of an image when it is resumed',
    file: 'receiver/open-target.ts',
    edits: [["format === 'auto' && recordedKind === 'file' ? 'raw'", "recordedKind === '' ? 'raw'"]],
    tests: ['test/end-to-end/images.test.ts'],
  },
  {
    name: 'a target without FLUSH is taken',
    file: 'receiver/target/nbd-target.ts',
    edits: [['  if (facts.canFlush) return;\n', '  if (facts.sizeBytes > 0) return;\n']],
    tests: ['test/end-to-end/nbd.test.ts'],
  },
  {
    name: 'the word of an NBD server passes for what was read of the disk',
    file: 'common/protocol/read-back.ts',
    edits: [["  'nbd-server': ', as its NBD server says',", "  'nbd-server': '',"]],
    tests: ['test/sender/display/progress-text.test.ts'],
  },
];
