/** Faults in who may watch, and in what they are shown. */
import type { Mutant } from './try-mutant.ts';

const SERVER = 'common/watch/watch-server.ts';
const SERVER_TESTS = ['test/common/watch/watch-server.test.ts'];
const KEY_TESTS = ['test/common/watch/watch-key.test.ts'];
const MARKS_TESTS = ['test/common/watch/block-marks.test.ts'];
const FRAMES_TESTS = ['test/common/watch/watch-frames.test.ts'];
const TABLE_TESTS = ['test/receiver/watch/table-blocks.test.ts'];

export const WATCHING: readonly Mutant[] = [
  {
    name: 'any key may watch',
    file: SERVER,
    edits: [['if (given === undefined) return false;', 'if (given !== undefined) return true;']],
    tests: SERVER_TESTS,
  },
  {
    name: 'who watches may write',
    file: SERVER,
    edits: [["if (req.method !== 'GET' && req.method !== 'HEAD')", "if (req.method === 'NONE')"]],
    tests: SERVER_TESTS,
  },
  {
    name: 'any name leads to the page',
    file: SERVER,
    edits: [["name !== 'localhost' && name", "name === 'localhost' && name"]],
    tests: SERVER_TESTS,
  },
  {
    name: 'any origin may ask for the page',
    file: SERVER,
    edits: [['if (origin !== undefined && origin !==', 'if (origin === undefined && origin !==']],
    tests: SERVER_TESTS,
  },
  {
    name: 'a client that does not read stays',
    file: SERVER,
    edits: [['server.setTimeout(limits.stallTimeoutMs,', 'server.setTimeout(0,']],
    tests: SERVER_TESTS,
  },
  {
    name: 'there is no end of streams',
    file: SERVER,
    edits: [['streams.size >= limits.streamsMax', 'streams.size > 1000 * limits.streamsMax']],
    tests: SERVER_TESTS,
  },
  {
    name: 'a key that others can read is used',
    file: 'common/watch/watch-key.ts',
    edits: [['if (weakness !== undefined) throw', 'if (weakness === undefined && false) throw']],
    tests: KEY_TESTS,
  },
  {
    name: 'a change of a block is not noted',
    file: 'common/watch/block-marks.ts',
    edits: [['= ++this.#version;', '= this.#version;']],
    tests: MARKS_TESTS,
  },
  {
    name: 'runs are one block too short',
    file: 'common/watch/watch-frames.ts',
    edits: [['let left = end - at;', 'let left = end - at - 1;']],
    tests: FRAMES_TESTS,
  },
  {
    name: 'blocks that are doubted are shown as verified',
    file: 'receiver/durability/block-table.ts',
    edits: [['        this.#noteChange(chunk);\n', '']],
    tests: TABLE_TESTS,
  },
];
