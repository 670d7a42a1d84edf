/** Faults in what goes through ssh. */
import type { Mutant } from './try-mutant.ts';

const DESTINATION = 'common/ssh/destination.ts';
const DESTINATION_TESTS = ['test/common/ssh/destination.test.ts'];
const SCRIPTS = 'common/ssh/far-scripts.ts';
const ROOM_TESTS = ['test/end-to-end/ssh-room.test.ts'];
const LANE = 'common/ssh/ssh-lane.ts';
const LANE_TESTS = ['test/common/ssh/ssh-lane.test.ts'];
const WITHOUT_SENDER = 'receiver/without-sender.ts';
const PULL_REFUSED_TESTS = ['test/end-to-end/pull-refused.test.ts'];
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
    edits: [['[ "$1" = ${digest} ] || {', '[ "$1" != "" ] || {']],
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
  {
    name: 'a sender is believed that its copy is sealed here',
    file: 'receiver/pull/pull.ts',
    edits: [['if (own === EXIT_STATUS.verified) return', 'if (own !== EXIT_STATUS.usage) return']],
    tests: PULL_REFUSED_TESTS,
  },
  {
    name: 'what the machine of the source writes may move the cursor',
    file: 'receiver/pull/pull-screen.ts',
    edits: [['.map((line) => printable(line))', '.map((line) => line)']],
    tests: PULL_REFUSED_TESTS,
  },
  {
    name: 'the receiver of a run that was killed stays',
    file: 'receiver/main.ts',
    edits: [["process.once('disconnect', ", "process.once('exit', "]],
    tests: ['test/receiver/started-by-another.test.ts'],
  },
  {
    name: 'a sender that is left alone stays',
    file: 'sender/pulled.ts',
    edits: [["lines.once('close', () => this.#end())", "lines.once('close', () => {})"]],
    tests: ['test/sender/pulled.test.ts'],
  },
  {
    name: 'a stranger on the port of a sender ends the copy',
    file: 'sender/ssh/pulled-dial.ts',
    edits: [
      [
        "return new TransferError('connection-failed', message",
        "return new TransferError('pin-mismatch', message",
      ],
    ],
    tests: ['test/sender/ssh/pulled-dial.test.ts'],
  },
];
