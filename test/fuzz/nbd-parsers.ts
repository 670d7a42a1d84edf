/** What an NBD server says, and what a file begins with. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { IMAGE_FORMATS, formatOf } from '../../common/nbd/image-format.ts';
import { COMMAND } from '../../common/nbd/nbd-wire.ts';
import { BrokenReply, Replies, type Awaited } from '../../common/nbd/replies.ts';
import { at, chunk, number32, simpleReply } from '../support/nbd-server.ts';
import { mutatedBytes } from './mutations.ts';
import { parserProperty, type ParserProperty } from './parser-property.ts';

const OFFSET = 4096;
const LENGTH_BYTES = 1024;
const AROUND_BYTES = 512;

const honest = fc.constantFrom(
  [chunk(1n, 1, at(4096n, Buffer.alloc(LENGTH_BYTES, 1)), 1)],
  [
    chunk(1n, 2, at(4096n, number32(512))),
    chunk(1n, 1, at(4608n, Buffer.alloc(512, 2))),
    chunk(1n, 0, Buffer.alloc(0), 1),
  ],
  [chunk(1n, 0x8001, Buffer.from([0, 0, 0, 5, 0, 2, 0x68, 0x69]), 1)],
  [chunk(2n, 5, Buffer.concat([7, 4096, 0, 512, 3].map(number32)), 1)],
  [simpleReply(2n, 5)],
);
const replies = mutatedBytes(honest.map((parts) => Buffer.concat(parts)));

function awaited(command: 0 | 7, into: Buffer | undefined): Awaited {
  const place = { offset: OFFSET, lengthBytes: LENGTH_BYTES, into };
  return { command, ...place, parts: [], chunkCount: 0, extents: undefined, error: undefined };
}

function checkReplies(bytes: Buffer, pieceBytes: number): void {
  const memory = Buffer.alloc(LENGTH_BYTES + 2 * AROUND_BYTES, 0xaa);
  const into = memory.subarray(AROUND_BYTES, AROUND_BYTES + LENGTH_BYTES);
  const waiting = new Map([
    [1, awaited(COMMAND.read, into)],
    [2, awaited(COMMAND.blockStatus, undefined)],
  ]);
  const events = {
    find: (cookie: number) => waiting.get(cookie),
    onDone: (cookie: number) => void waiting.delete(cookie),
  };
  const parser = new Replies(events, { isStructured: true, contextId: 7 });
  try {
    for (let from = 0; from < bytes.length; from += pieceBytes) {
      parser.push(bytes.subarray(from, from + pieceBytes));
    }
  } catch (error) {
    assert(error instanceof BrokenReply, String(error));
  }
  const around = Buffer.concat([memory.subarray(0, AROUND_BYTES), memory.subarray(-AROUND_BYTES)]);
  assert(around.equals(Buffer.alloc(2 * AROUND_BYTES, 0xaa)), 'nothing is written elsewhere');
}

export const NBD_PARSERS: readonly ParserProperty[] = [
  parserProperty(
    'replies of an NBD server',
    60,
    fc.tuple(replies, fc.integer({ min: 1, max: 2000 })),
    (input) => {
      checkReplies(...input);
    },
  ),
  parserProperty('first bytes of an image', 10, fc.uint8Array({ maxLength: 128 }), (bytes) => {
    const format = formatOf(Buffer.from(bytes));
    assert(format === undefined || IMAGE_FORMATS.includes(format));
  }),
];
