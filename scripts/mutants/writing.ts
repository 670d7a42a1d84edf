/** Faults on the way of a block from the request to the target. */
import type { Mutant } from './try-mutant.ts';

const WRITE = 'receiver/transfer/write-block.ts';
const WRITE_TESTS = ['test/receiver/transfer/write-block.test.ts'];
const BODY = 'receiver/http/read-body.ts';
const DIGESTS = 'receiver/http/digest-headers.ts';
const PERMIT =
  '  const permit: WritePermit = durability.announce(indexes);\n  try {\n    await writeTarget();\n';

export const WRITING: readonly Mutant[] = [
  {
    name: 'the digest of a block is not compared when it arrives',
    file: DIGESTS,
    edits: [['  await compareDigests(bytes, given, index);\n', '']],
    tests: ['test/receiver/http/routes-put.test.ts'],
  },
  {
    name: 'the length of a body is not looked at',
    file: BODY,
    edits: [['if (plainBytes !== lengthBytes)', 'if (plainBytes < 0)']],
    tests: ['test/receiver/http/routes-put.test.ts'],
  },
  {
    name: 'the digest of an encoded body is not compared',
    file: BODY,
    edits: [['  await compareDigests(into.subarray(0, bodyBytes), head.encodedDigests, head.index);\n', '']],
    tests: ['test/receiver/http/routes-encodings.test.ts'],
  },
  {
    name: 'of several digests only the first one is compared',
    file: DIGESTS,
    edits: [
      [
        'for (const { by, expected } of given) {\n    if',
        'for (const { by, expected } of given.slice(0, 1)) {\n    if',
      ],
    ],
    tests: ['test/receiver/http/routes-digests.test.ts'],
  },
  {
    name: 'a digest of another kind counts as that of the transfer',
    file: DIGESTS,
    edits: [['by.algorithm === own.algorithm', "by.algorithm !== 'none'"]],
    tests: ['test/receiver/http/routes-digests.test.ts'],
  },
  {
    name: 'a path is decoded before it is matched',
    file: 'receiver/http/app.ts',
    edits: [[', getPath: rawPathOf }', ' }']],
    tests: ['test/receiver/http/routes-block.test.ts'],
  },
  {
    name: 'HEAD of a block reads it from the target',
    file: 'receiver/http/app.ts',
    edits: [["if (context.req.method === 'HEAD')", "if (context.req.method === 'NONE')"]],
    tests: ['test/receiver/http/routes-block.test.ts'],
  },
  {
    name: 'a token is not looked at',
    file: 'receiver/http/app.ts',
    edits: [["authenticator.check(context.req.header('authorization'), scope)", 'scope.length > 0']],
    tests: ['test/receiver/http/routes-transfer.test.ts'],
  },
  {
    name: 'a block is written before it is announced',
    file: WRITE,
    edits: [
      [
        PERMIT,
        '  await writeTarget();\n  const permit: WritePermit = durability.announce(indexes);\n  try {\n',
      ],
    ],
    tests: ['test/receiver/durability/durability.test.ts'],
  },
  {
    name: 'a failed write is not reported to durability',
    file: WRITE,
    edits: [['    durability.failWrite(permit, failure);\n', '']],
    tests: ['test/receiver/durability/durability-faults.test.ts'],
  },
  {
    name: 'two requests write one block at the same time',
    file: WRITE,
    edits: [
      ['  using _lock = await open.locks.lock(range[0], range[1]);\n', '  await Promise.resolve(range);\n'],
    ],
    tests: WRITE_TESTS,
  },
  {
    name: 'locks over the same blocks are held together',
    file: 'receiver/durability/range-locks.ts',
    edits: [['a.first < b.end && b.first < a.end', 'a.first === b.first && a.end === b.end']],
    tests: ['test/receiver/durability/range-locks.test.ts'],
  },
  {
    name: 'a durable block is left alone whatever its bytes are',
    file: WRITE,
    edits: [
      [
        'table.isDurable(index) && table.digestOf(index).equals(content.digestOf(index))',
        'table.isDurable(index)',
      ],
    ],
    tests: ['test/receiver/durability/durability.test.ts'],
  },
  {
    name: 'a block that waited for its turn is written after the seal',
    file: WRITE,
    edits: [['was read.\n    refuseStale(transfer, open);\n', 'was read.\n']],
    tests: WRITE_TESTS,
  },
  {
    name: 'a block is called durable before it is',
    file: WRITE,
    edits: [['    await flushTo(open, written', '    void flushTo(open, written']],
    tests: ['test/receiver/durability/durability.test.ts'],
  },
  {
    name: 'a block is called durable that a claim has forgotten',
    file: WRITE,
    edits: [['if (open.resizeCount !== resizeCount) throw epochEnded();', 'void resizeCount;']],
    tests: ['test/receiver/transfer/resize.test.ts'],
  },
  {
    name: 'a flush is believed that came after the one in which the block was lost',
    file: WRITE,
    edits: [
      [
        'if (durability.epoch !== epoch || durability.durableGeneration < generation) throw',
        'if (epoch === undefined && generation > 0) throw',
      ],
    ],
    tests: WRITE_TESTS,
  },
  {
    name: 'zeros are acknowledged whose first range was lost with its epoch',
    file: WRITE,
    edits: [['    if (generation > 0 && written.epoch !== epoch) throw epochEnded();\n', '']],
    tests: WRITE_TESTS,
  },
  {
    name: 'zeros have the generation of their last range',
    file: WRITE,
    edits: [['generation = Math.max(generation, written.generation);', '({ generation } = written);']],
    tests: WRITE_TESTS,
  },
];
