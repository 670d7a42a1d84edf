/** Faults in what goes through ssh. */
import type { Mutant } from './try-mutant.ts';

const DESTINATION = 'common/ssh/destination.ts';
const DESTINATION_TESTS = ['test/common/ssh/destination.test.ts'];
const SCRIPTS = 'common/ssh/far-scripts.ts';
const ROOM_TESTS = ['test/end-to-end/ssh-room.test.ts'];
const LANE = 'common/ssh/ssh-lane.ts';
const LANE_TESTS = ['test/common/ssh/ssh-lane.test.ts'];
const WITHOUT_SENDER = 'receiver/without-sender.ts';
const WITHOUT_SENDER_TESTS = ['test/receiver/without-sender.test.ts'];

export const THROUGH_SSH: readonly Mutant[] = [
  {
    name: 'a host may look like an option of ssh',
    file: DESTINATION,
    edits: [[String.raw`([^\s@:/[\]-][^\s@:/[\]]*)`, String.raw`([^\s@:/[\]]+)`]],
    tests: DESTINATION_TESTS,
  },
  {
    name: 'a program that was damaged on its way is run',
    file: SCRIPTS,
    edits: [['[ "$1" = ${digest} ] || refuse', '[ "$1" != "" ] || refuse']],
    tests: ROOM_TESTS,
  },
  {
    name: 'a quote in a path ends the word of the shell',
    file: 'common/text.ts',
    edits: [[': shellQuoted(text);', ": `'${text}'`;"]],
    tests: ['test/common/ssh/far-scripts.test.ts'],
  },
  {
    name: 'bytes that wait in ssh count as delivered',
    file: LANE,
    edits: [['return Math.max(0, written - (arrived - this.#overheadBytes));', 'return queued;']],
    tests: LANE_TESTS,
  },
  {
    name: 'the frames of ssh count as data',
    file: LANE,
    edits: [['Math.max(this.#overheadBytes, arrived - taken.bytesWritten)', '0']],
    tests: LANE_TESTS,
  },
  {
    name: 'a receiver that no sender reaches stays',
    file: WITHOUT_SENDER,
    edits: [['if (nowMs - aloneSinceMs < limitMs) return;', 'if (nowMs >= 0) return;']],
    tests: WITHOUT_SENDER_TESTS,
  },
  {
    name: 'a transfer that is open is left when its sender is away',
    file: WITHOUT_SENDER,
    edits: [['hasCome && isOpen ? ', 'hasCome && isOpen && withinMs < 0 ? ']],
    tests: WITHOUT_SENDER_TESTS,
  },
];
