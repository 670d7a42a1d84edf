/** A table of small disks for a real ddt-fleet, on loopback with a real sshd. */
import assert from 'node:assert/strict';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { closed } from './closed-schema.ts';
import { readDocument } from './documents.ts';
import { FarMachine } from './far-machine.ts';
import { prng } from './prng.ts';
import { progressErrors } from './progress-events.ts';
import { SCRIPTS, assertEqualFiles, environment, eventsOf } from './processes.ts';
import { run, start, type Ended, type Started } from './run.ts';
import { FAR, TwoMachines } from './two-machines.ts';

const RUN_MS_MAX = 240_000;
/** Senders notice it at once, have three seconds to end, and then close what they have elsewhere. */
export const SENDERS_END_MS_MAX = 15_000;

export type FleetEvent = Readonly<Record<string, unknown>>;

export interface DiskRow {
  readonly name: string;
  readonly source: string;
  readonly target: string;
  readonly options?: readonly string[];
}

export class FleetScene implements AsyncDisposable {
  readonly machine: FarMachine;
  /** What the command line of the fleet starts with. */
  readonly #under: readonly string[];
  readonly #stack: AsyncDisposableStack;

  private constructor(machine: FarMachine, under: readonly string[], stack: AsyncDisposableStack) {
    this.machine = machine;
    this.#under = under;
    this.#stack = stack;
  }

  /** On loopback. */
  static async make(): Promise<FleetScene> {
    await using stack = new AsyncDisposableStack();
    return new FleetScene(stack.use(await FarMachine.make()), [], stack.move());
  }

  /** In two namespaces: the fleet in one, its targets in the other. */
  static async makeApart(): Promise<FleetScene> {
    await using stack = new AsyncDisposableStack();
    const machines = stack.use(await TwoMachines.make());
    const [near, far] = [machines.under('near'), machines.under('far')];
    const machine = stack.use(await FarMachine.make({ elsewhere: { address: FAR, near, far } }));
    return new FleetScene(machine, near, stack.move());
  }

  get folder(): string {
    return this.machine.folder;
  }

  get table(): string {
    return join(this.folder, 'jobs.yaml');
  }

  get receipts(): string {
    return join(this.folder, 'jobs.fleet/receipts');
  }

  /** Random disks, and the rows that copy them through ssh. */
  async makeDisks(count: number, bytes: number): Promise<DiskRow[]> {
    const rows: DiskRow[] = [];
    for (let at = 1; at <= count; at++) {
      const name = `disk${String(at).padStart(2, '0')}`;
      const source = join(this.folder, `disks/${name}`);
      await writeFile(source, prng(at).bytes(bytes));
      rows.push({ name, source, target: `loopback:${this.targetOf(name)}` });
    }
    return rows;
  }

  targetOf(name: string): string {
    return join(this.folder, `disks/${name}.copy`);
  }

  async writeTable(rows: readonly DiskRow[]): Promise<void> {
    await writeFile(this.table, JSON.stringify(rows));
  }

  /** What every job needs besides: the receiver runs from this checkout. */
  get targetOptions(): string[] {
    const place = ['--remote-program', join(SCRIPTS, 'ddt-receive'), '--remote-dir', this.machine.base];
    // Between namespaces where it usually listens.
    return this.#under.length > 0 ? place : ['--listen', '127.0.0.1:0', ...place];
  }

  /** With what every job needs to reach its target. */
  words(own: readonly string[], shared: readonly string[] = []): string[] {
    const here = ['--ssh', `ssh -F ${this.machine.configFile}`, '--progress', 'json'];
    return [...here, ...own, this.table, '--', ...this.targetOptions, ...shared];
  }

  async start(own: readonly string[] = [], shared: readonly string[] = []): Promise<Started> {
    const options = { env: this.#environment(), under: this.#under };
    return this.#stack.use(await start(join(SCRIPTS, 'ddt-fleet'), this.words(own, shared), options));
  }

  /** To its end. */
  async run(own: readonly string[] = [], shared: readonly string[] = []): Promise<Ended> {
    return await this.runIn({}, own, shared);
  }

  /** @param env besides. */
  async runIn(
    env: NodeJS.ProcessEnv,
    own: readonly string[],
    shared: readonly string[] = [],
  ): Promise<Ended> {
    const options = { env: this.#environment(env), under: this.#under, timeoutMs: RUN_MS_MAX };
    return await run(join(SCRIPTS, 'ddt-fleet'), this.words(own, shared), options);
  }

  /** Titles of all ddt-send that copy one of its disks. */
  async senders(): Promise<string[]> {
    return (await this.machine.processes(/^ddt-send/)).map(({ title }) => title);
  }

  /** Each copy equals its source, and each has its receipt with signature and digests. */
  async assertCopied(rows: readonly DiskRow[]): Promise<void> {
    for (const { name, source } of rows) await assertEqualFiles(source, this.targetOf(name));
    const files = (await readdir(this.receipts)).toSorted();
    const wanted = rows.flatMap(({ name }) => ['', '.sig', '.digests'].map((end) => `${name}.json${end}`));
    assert.deepEqual(files, wanted.toSorted());
  }

  async log(name: string): Promise<string> {
    return await readFile(join(this.folder, `jobs.fleet/logs/${name}.log`), 'utf8');
  }

  #environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    return environment({ TMPDIR: join(this.folder, 'tmp'), ...more });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

const schema = JSON.parse(await readDocument('docs/reference/fleet.schema.json')) as {
  readonly $defs: Readonly<Record<string, unknown>>;
};
const ajv = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true });
ajv.addSchema(closed(schema) as object);

/** Why it is none of the objects of the schemas; empty if it is one. */
function eventErrors(event: FleetEvent): string {
  const name = String(event['event']);
  const { job, ...ofSender } = event;
  if (!(name in schema.$defs)) return typeof job === 'string' ? progressErrors(ofSender) : 'no job';
  const validate = ajv.compile({ $ref: `urn:dd-transfer:fleet#/$defs/${name}` });
  return validate(event) ? '' : ajv.errorsText(validate.errors);
}

/**
 * Of one that may have been killed within a line.
 * @throws AssertionError unless each whole line is one of the objects of the schemas.
 */
export function fleetEventsOf(stdout: string): FleetEvent[] {
  const events = eventsOf(stdout.slice(0, stdout.lastIndexOf('\n') + 1));
  for (const event of events) assert.equal(eventErrors(event), '', JSON.stringify(event));
  return events;
}

/** Names of all objects that a fleet writes by itself. */
export const FLEET_EVENTS = Object.keys(schema.$defs).filter((name) => name !== 'size');

/** Of the jobs that have such an event. */
export function namesOf(events: readonly FleetEvent[], wanted: string): string[] {
  return events.filter(({ event }) => event === wanted).map(({ job }) => String(job));
}

/** The most jobs that ran at once, by the order of events. */
export function mostAtOnce(events: readonly FleetEvent[]): number {
  const running = new Set<unknown>();
  let most = 0;
  for (const { event, job } of events) {
    if (event === 'started') running.add(job);
    else if (event === 'over' || event === 'paused' || event === 'interrupted') running.delete(job);
    most = Math.max(most, running.size);
  }
  return most;
}
