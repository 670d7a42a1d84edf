/** Faults in a fleet: its limits, its restarts, its journal, and what its senders wait for. */
import type { Mutant } from './try-mutant.ts';

const SCHEDULER = 'fleet/scheduler.ts';
const SCHEDULER_TESTS = ['test/fleet/scheduler.test.ts'];
const TABLE_TESTS = ['test/fleet/table.test.ts'];
const RUN_TESTS = ['test/end-to-end/fleet.test.ts'];
const STEERED_TESTS = ['test/sender/steered.test.ts'];

export const FLEET: readonly Mutant[] = [
  {
    name: 'one job more than --at-once runs',
    file: SCHEDULER,
    edits: [
      [
        'this.#running.size >= this.#options.atOnceMax) break',
        'this.#running.size > this.#options.atOnceMax) break',
      ],
    ],
    tests: SCHEDULER_TESTS,
  },
  {
    name: 'only the first machine of a job counts',
    file: SCHEDULER,
    edits: [['job.hosts.every((host) => this.#freeOn', 'job.hosts.slice(0, 1).every((host) => this.#freeOn']],
    tests: SCHEDULER_TESTS,
  },
  {
    name: 'a machine stays busy after its job has ended',
    file: SCHEDULER,
    edits: [['(this.#busy.get(host) ?? 0) - 1', '(this.#busy.get(host) ?? 0)']],
    tests: SCHEDULER_TESTS,
  },
  {
    name: 'a job that needs two machines is overtaken forever',
    file: SCHEDULER,
    edits: [['job.overtaken < OVERTAKEN_MAX', 'job.overtaken < Infinity']],
    tests: SCHEDULER_TESTS,
  },
  {
    name: 'attempts that made progress count as failures in a row',
    file: SCHEDULER,
    edits: [['end.hasProgressed ? 1 :', 'end.hasProgressed && false ? 1 :']],
    tests: SCHEDULER_TESTS,
  },
  {
    name: 'jobs are started after the fleet was interrupted',
    file: SCHEDULER,
    edits: [['this.#isStopped ? [] :', 'this.#isStopped && false ? [] :']],
    tests: SCHEDULER_TESTS,
  },
  {
    name: 'a target of two jobs is not noticed under another user',
    file: 'fleet/job.ts',
    edits: [['THIS_MACHINE : hostOf(far).toLowerCase()', 'THIS_MACHINE : far.login']],
    tests: TABLE_TESTS,
  },
  {
    name: 'a job is another one when its name changes',
    file: 'fleet/job.ts',
    edits: [
      ['JSON.stringify([source.text, target.text])', 'JSON.stringify([name, source.text, target.text])'],
    ],
    tests: TABLE_TESTS,
  },
  {
    name: 'an option that would discard progress with every attempt is accepted',
    file: 'fleet/job.ts',
    edits: [["  '--digest': true,", "  '--digest': true,\n  '--discard-transfer': false,"]],
    tests: TABLE_TESTS,
  },
  {
    name: 'two fleets share a journal',
    file: 'fleet/fleet-journal.ts',
    edits: [['PRAGMA locking_mode=EXCLUSIVE; ', '']],
    tests: ['test/fleet/fleet-journal.test.ts'],
  },
  {
    name: 'a complete job runs again with the next start',
    file: 'fleet/fleet-journal.ts',
    edits: [["result === 'complete' || result === 'unproven'", "result === 'unproven'"]],
    tests: ['test/fleet/fleet-journal.test.ts'],
  },
  {
    name: 'each job has all of the line',
    file: 'fleet/fleet.ts',
    edits: [['Math.max(1, this.#scheduler.runningCount)', '1']],
    tests: RUN_TESTS,
  },
  {
    name: 'a failure that may pass ends the job',
    file: 'fleet/attempt.ts',
    edits: [['mayPass: STATUSES_AGAIN.includes(status)', 'mayPass: false']],
    tests: RUN_TESTS,
  },
  {
    name: 'the receipt is acknowledged although it could not be written',
    file: 'fleet/attempt.ts',
    edits: [
      [
        '      this.#reason = `the receipt',
        '      this.#sender?.receiptKept();\n      this.#reason = `the receipt',
      ],
    ],
    tests: RUN_TESTS,
  },
  {
    name: 'a sender lives on when its fleet was killed',
    file: 'sender/run.ts',
    edits: [['for (const starter of [pulled, steered])', 'for (const starter of [pulled])']],
    tests: RUN_TESTS,
  },
  {
    name: 'a sender does not wait until its receipt is kept',
    file: 'sender/steered.ts',
    edits: [['await Promise.race([this.#kept.promise, this.#gone.promise]);', '']],
    tests: STEERED_TESTS,
  },
  {
    name: 'a sender keeps its first limit',
    file: 'sender/steered.ts',
    edits: [['this.#limit = limit ?? undefined;', 'this.#limit ??= limit ?? undefined;']],
    tests: STEERED_TESTS,
  },
];
