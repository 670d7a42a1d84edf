/** Puts the parts of a fleet together. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { formatLimit } from '../common/bandwidth/bandwidth-schedule.ts';
import { ScheduleSource } from '../common/bandwidth/schedule-source.ts';
import { systemClock, systemRandom } from '../common/clock.ts';
import { EXIT_STATUS, TransferError, errnoOf, reasonOf } from '../common/errors.ts';
import { Hooks } from '../common/hooks.ts';
import { makeFolderDurably } from '../common/io/durable-file.ts';
import { canDrawOn, hasBlockCharacters } from '../common/io/terminal-kind.ts';
import type { TextOutput } from '../common/io/terminal-output.ts';
import { onProgressSignal } from '../common/progress-signal.ts';
import { printable } from '../common/text.ts';
import type { FleetArguments } from './cli.ts';
import { askSizes, type DiskFacts } from './disk-sizes.ts';
import { countsText, totalsOf } from './board-text.ts';
import { FleetJournal, receiptNameOf, type JobRecord } from './fleet-journal.ts';
import { Fleet, fleetStatus, logsFolderOf, receiptsFolderOf, type FleetEvents } from './fleet.ts';
import { readJobs, type Job, type Place } from './job.ts';
import type { FleetWatch } from './fleet-watch.ts';
import { showPlan } from './plan.ts';
import { FleetShow, type ShowOptions, type ShownAs } from './show-fleet.ts';
import { SourceHosts } from './source-hosts.ts';
import { readTable, type Problem } from './table.ts';

const ROWS_DEFAULT = 24;
const BELL = '\x07';

export interface Outputs {
  readonly out: TextOutput;
  readonly err: TextOutput;
}

export interface RunParts {
  readonly outputs: Outputs;
  /** Aborted by the first signal that interrupts. */
  readonly signal: AbortSignal;
  /** Exit status for the signal that came. */
  readonly interruptedStatus: () => number;
}

/** @returns the exit status. @throws TransferError. */
export async function runFleet(options: FleetArguments, parts: RunParts): Promise<number> {
  const { outputs, signal } = parts;
  const jobs = await readTableFile(options, outputs);
  if (jobs === undefined) return EXIT_STATUS.usage;
  const stateFolder = resolve(options.stateFolder);
  if (options.isDryRun) {
    const records = await readRecords(stateFolder);
    if (hasProblems(takenNames(jobs, records), options.table, outputs)) return EXIT_STATUS.usage;
    const writeOut = (text: string): void => void outputs.out.write(text);
    const { sshCommand, progress } = options;
    return await showPlan(jobs, records, { sshCommand, signal, isJson: progress === 'json', writeOut });
  }
  for (const folder of [stateFolder, receiptsFolderOf(stateFolder), logsFolderOf(stateFolder)])
    await makeFolder(folder);
  using journal = await FleetJournal.open(journalPathOf(stateFolder));
  if (hasProblems(takenNames(jobs, journal.records()), options.table, outputs)) return EXIT_STATUS.usage;
  await using watch = await openWatch(options);
  using show = new FleetShow({ ...(await showOptions(options.progress, outputs)), watch });
  if (watch !== undefined) show.always(`web      ${watch.url}`);
  const hooks = new Hooks(options.hooks, {
    program: 'ddt-fleet',
    clock: systemClock,
    warn: (warning) => show.warning(warning),
    ring: process.stderr.isTTY ? () => void outputs.err.write(BELL) : undefined,
  });
  using limits = await openLimit(options.bwlimit, show, () => fleet.divideLine());
  const { sshCommand, isAgentForwarded, programFile, remoteProgram, remoteDir: base, isKept } = options;
  await using hosts = new SourceHosts(
    { sshCommand, isAgentForwarded, programFile, remoteProgram, base, isKept },
    { signal, say: (fact) => show.fact(fact) },
  );
  // Nothing is wrong with the arguments any more.
  forget(options.again, jobs, journal);
  const fleet = new Fleet({ ...options, jobs, stateFolder }, journal.records(), {
    clock: systemClock,
    random: systemRandom,
    journal,
    hosts,
    limit: () => limits?.bytesPerSecond,
    events: eventsFor(show, hooks),
    signal,
  });
  process.on('SIGHUP', () => void limits?.reload(true));
  void onProgressSignal(() => show.progressNow());
  watch?.begin(fleet.states);
  show.begin(fleet.states);
  learnSizes(fleet, sshCommand, signal);
  await fleet.run();
  const status = signal.aborted ? parts.interruptedStatus() : fleetStatus(fleet.states);
  watch?.end(status);
  show.end(status, options.stateFolder);
  if (!signal.aborted) await tellEnd(status, fleet, hooks, signal);
  return status;
}

/** A job that has failed is trouble: the others continue. */
function eventsFor(show: FleetShow, hooks: Hooks): FleetEvents {
  return {
    onStarted: (state) => show.onStarted(state),
    onEvent: (state, event) => show.onEvent(state, event),
    onPaused: (state, reason, pauseMs) => show.onPaused(state, reason, pauseMs),
    onInterrupted: (state) => show.onInterrupted(state),
    onOver: (state) => {
      show.onOver(state);
      if (state.result !== 'failed') return;
      const { name, source, target } = state.job;
      const message = `${name}: ${state.reason ?? 'failed'}`;
      hooks.trouble({ code: 'job-failed', message, source: source.text, target: target.text });
    },
  };
}

async function tellEnd(status: number, fleet: Fleet, hooks: Hooks, signal: AbortSignal): Promise<void> {
  const isProven = status === EXIT_STATUS.verified;
  const result = isProven ? 'verified' : status === EXIT_STATUS.unproven ? 'unproven' : 'failed';
  const totals = totalsOf(fleet.states);
  const message = `${countsText(totals)} of ${totals.count} jobs`;
  hooks.ended({ code: 'fleet', message, status, result });
  await hooks.finish(signal);
}

/** @returns undefined where the table has mistakes, which have been shown, all of them. */
async function readTableFile(
  { table, tableKind, shared }: FleetArguments,
  outputs: Outputs,
): Promise<readonly Job[] | undefined> {
  let text: string;
  try {
    text = await readFile(table, 'utf8');
  } catch (error) {
    throw new TransferError('usage', `cannot read the table ${table}: ${reasonOf(error)}`, { cause: error });
  }
  const { jobs, problems } = readJobs(readTable(text, tableKind), shared);
  return hasProblems(problems, table, outputs) ? undefined : jobs;
}

/** Shows all of them. */
function hasProblems(problems: readonly Problem[], table: string, { err }: Outputs): boolean {
  if (problems.length === 0) return false;
  for (const { line, text } of problems) {
    err.write(`ddt-fleet: error: ${table}:${line}: ${printable(text)}\n`);
  }
  const count = problems.length === 1 ? 'this line' : `these ${problems.length} lines`;
  err.write(`ddt-fleet: hint: correct ${count}; nothing was started\n`);
  return true;
}

/** The receipt of a job that is in the table no more, or has another name now, must not be replaced. */
function takenNames(jobs: readonly Job[], records: ReadonlyMap<string, JobRecord>): Problem[] {
  const owners = new Map(
    [...records].flatMap(([key, { receipt }]) => (receipt === null ? [] : [[receipt, key]])),
  );
  return jobs.flatMap((job) => {
    const owner = owners.get(receiptNameOf(job)) ?? job.key;
    if (owner === job.key) return [];
    const text = `the name ${job.name} is that of the receipt of an earlier job: give it another one`;
    return [{ line: job.line, text }];
  });
}

function journalPathOf(stateFolder: string): string {
  return join(stateFolder, 'journal.db');
}

/** @throws TransferError `journal-in-use`, `state-refused`. */
async function readRecords(stateFolder: string): Promise<ReadonlyMap<string, JobRecord>> {
  try {
    await readFile(journalPathOf(stateFolder));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return new Map();
  }
  using journal = await FleetJournal.open(journalPathOf(stateFolder));
  return journal.records();
}

/** Its names say which disks exist: nobody else reads a new one. */
async function makeFolder(folder: string): Promise<void> {
  try {
    await makeFolderDurably(folder, 0o700);
  } catch (error) {
    throw new TransferError('state-refused', `cannot use the folder ${folder}: ${reasonOf(error)}`, {
      cause: error,
      hint: 'name another one with --state',
    });
  }
}

/** @throws TransferError `usage` for a name that no job has. */
function forget(names: readonly string[], jobs: readonly Job[], journal: FleetJournal): void {
  const wanted = names.map((name) => {
    const job = jobs.find((each) => each.name === name);
    if (job !== undefined) return job;
    const hint = 'the names are in ddt-fleet --dry-run';
    throw new TransferError('usage', `--again: no job is called '${name}'`, { hint });
  });
  for (const { key } of wanted) journal.forget(key);
}

async function showOptions(
  progress: FleetArguments['progress'],
  { out, err }: Outputs,
): Promise<Omit<ShowOptions, 'watch'>> {
  const canDraw = canDrawOn(process.stderr, process.env['TERM']);
  const isAuto = progress === 'auto' || (progress === 'tty' && !canDraw);
  const as: ShownAs = isAuto ? (canDraw ? 'tty' : 'plain') : progress;
  const writeErr = (text: string): void => void err.write(text);
  // Loaded where there is a terminal: the widths of all characters take a tenth of the start.
  const live = as === 'tty' ? await import('../common/io/live-area.ts') : undefined;
  return {
    as,
    writeOut: (text) => void out.write(text),
    writeErr,
    isOneScreen: live !== undefined && process.stdout.isTTY,
    area: live && new live.TerminalArea(process.stderr, writeErr),
    rows: () => process.stderr.rows || ROWS_DEFAULT,
    hasBlocks: hasBlockCharacters(process.env),
  };
}

/** @throws TransferError `listen-failed`. */
async function openWatch({ web }: FleetArguments): Promise<FleetWatch | undefined> {
  if (web === undefined) return undefined;
  // A run that nobody watches need not wait for it.
  const watch = await import('./fleet-watch.ts');
  return await watch.FleetWatch.open(web, systemClock);
}

/** @returns undefined: no limit. @throws TransferError `usage`. */
async function openLimit(
  argument: string | undefined,
  show: FleetShow,
  onChange: () => void,
): Promise<ScheduleSource | undefined> {
  if (argument === undefined) return undefined;
  return await ScheduleSource.open(argument, {
    clock: systemClock,
    onChange: (limit) => {
      show.fact(`limit    changed to ${formatLimit(limit)}`);
      onChange();
    },
    onBroken: (error) => show.warning(`${error.message}; the limit stays as it was`),
  });
}

/** So that the time for all of it can be estimated; those that cannot be asked are known when they start. */
function learnSizes(fleet: Fleet, sshCommand: string, signal: AbortSignal): void {
  const states = fleet.states.filter(({ phase }) => phase === 'waiting' || phase === 'running');
  const byPlace = new Map(states.map((state) => [state.job.source, state]));
  const onFacts = (place: Place, { sizeBytes }: DiskFacts): void => {
    const state = byPlace.get(place);
    if (state !== undefined) state.bytesTotal ??= sizeBytes ?? null;
  };
  // Only an interruption ends it.
  askSizes([...byPlace.keys()], { sshCommand, signal, onFacts }).catch(() => {});
}
