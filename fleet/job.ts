/** Rows of the table → jobs, each checked, and all of them together. Pure. */
import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { TransferError } from '../common/errors.ts';
import { hostOf, parseDestination, type Destination } from '../common/ssh/destination.ts';
import { looksLikeTicket } from '../common/trust/ticket.ts';
import type { Problem, Row, Table } from './table.ts';

/** A disk, and the machine that has it. */
export interface Place {
  /** As it was written. */
  readonly text: string;
  /** undefined: this machine has it. */
  readonly far: Destination | undefined;
  /** On its machine. */
  readonly path: string;
}

export interface Job {
  /** Of source and target: another name, or other options, leave it the same job. */
  readonly key: string;
  /** Also of its files. */
  readonly name: string;
  readonly source: Place;
  readonly target: Place & { readonly far: Destination };
  /** Of its ddt-send, besides those of ddt-fleet. */
  readonly options: readonly string[];
  readonly line: number;
}

/** In place of a name where limits for each host are counted. */
export const THIS_MACHINE = 'this machine';

const KEY_DIGITS = 16;
const NAME = /^[A-Za-z0-9][\w.-]{0,99}$/;
const NAME_LENGTH_MAX = 100;

/** Options of ddt-send that a job may have, and whether they take a value. */
export const JOB_OPTIONS: Readonly<Record<string, boolean>> = {
  '--block-size': true,
  '--compress': true,
  '--connect': true,
  '--connections': true,
  '--digest': true,
  '--domain-mapfile': true,
  '--format': true,
  '--keep': false,
  '--listen': true,
  '--map-also': true,
  '--mapfile': true,
  '--memory': true,
  '--on-read-error': true,
  '--overwrite-target': false,
  '--program': true,
  '--remote-dir': true,
  '--remote-program': true,
  '--retry-for': true,
  '--s3-endpoint': true,
  '--ssh': true,
  '--target-format': true,
  '--used-only': false,
  '--verify': true,
};

/** @param shared options for every job. */
export function readJobs(
  { rows, problems }: Table,
  shared: readonly string[],
): { jobs: readonly Job[]; problems: readonly Problem[] } {
  const found = [...problems];
  const jobs: Job[] = [];
  for (const row of rows) {
    try {
      jobs.push(jobOf(row, shared));
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
      const hint = error.hint === undefined ? '' : `; ${error.hint}`;
      found.push({ line: row.line, text: error.message + hint });
    }
  }
  found.push(...conflictsIn(jobs));
  if (jobs.length === 0 && found.length === 0) found.push({ line: 1, text: 'there is no job' });
  return { jobs, problems: found.sort((a, b) => a.line - b.line) };
}

/** The machines that a job keeps busy. */
export function hostsOf({ source, target }: Job): readonly string[] {
  return [...new Set([hostNameOf(source), hostNameOf(target)])];
}

/** @throws TransferError `usage` for an option that a job cannot have, or that lacks its value. */
export function checkJobOptions(words: readonly string[]): void {
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    const [name = ''] = word.split('=', 1);
    const takesValue = Object.hasOwn(JOB_OPTIONS, name) ? JOB_OPTIONS[name] : undefined;
    if (takesValue === undefined) {
      throw new TransferError('usage', `'${word}' is not an option that a job can have`, {
        hint: `those are ${Object.keys(JOB_OPTIONS).join(' ')}`,
      });
    }
    if (word.includes('=')) {
      if (!takesValue) throw new TransferError('usage', `${name} takes no value`);
    } else if (takesValue && words[++at] === undefined) {
      throw new TransferError('usage', `${name} needs a value`);
    }
  }
}

function jobOf(row: Row, shared: readonly string[]): Job {
  const source = sourceOf(row.source);
  const target = targetOf(row.target, source);
  checkJobOptions(row.options);
  const name = row.name ?? `${nameOf(source)}-to-${nameOf(target)}`.slice(0, NAME_LENGTH_MAX);
  if (!NAME.test(name)) {
    throw new TransferError('usage', `the name '${name}' has characters that no file should have`, {
      hint: `up to ${NAME_LENGTH_MAX} letters, digits, points, dashes and underscores`,
    });
  }
  const text = JSON.stringify([source.text, target.text]);
  const key = createHash('sha256').update(text).digest('hex').slice(0, KEY_DIGITS);
  return { key, name, source, target, options: [...shared, ...row.options], line: row.line };
}

function sourceOf(text: string | undefined): Place {
  if (text === undefined || text === '') throw new TransferError('usage', 'there is no source');
  if (text.startsWith('-')) {
    throw new TransferError('usage', `the source '${text}' is not a disk`, {
      hint: 'a pipe cannot be started again: send it with ddt-send',
    });
  }
  const far = parseDestination(text, 'source');
  const path = far?.path ?? text;
  if (far === undefined && !/^(\/|nbds?(\+unix)?:\/\/|rbd:|s3:\/\/)/.test(path)) {
    throw new TransferError('usage', `the source '${text}' depends on the folder that ddt-fleet runs in`, {
      hint: 'write its whole path, or root@old:/dev/sda for a disk of another machine',
    });
  }
  return { text, far, path };
}

function targetOf(text: string | undefined, source: Place): Job['target'] {
  if (text === undefined || text === '') throw new TransferError('usage', 'there is no target');
  if (looksLikeTicket(text)) {
    throw new TransferError('usage', 'the target is a ticket', {
      hint: 'a fleet starts its receivers itself: write root@vm:/dev/vdd',
    });
  }
  const far = parseDestination(text, 'target');
  if (far === undefined) {
    const pulled = source.far !== undefined && text.startsWith('/');
    const hint = pulled
      ? `for one disk, ddt-receive ${text} ${source.text}; in a fleet, the name by which ` +
        `${source.far.login} reaches this machine by ssh`
      : 'for example root@vm.example.org:/dev/vdd';
    throw new TransferError('usage', `the target '${text}' is not on a machine that ssh reaches`, { hint });
  }
  return { text, far, path: far.path };
}

function nameOf({ far, path }: Place): string {
  const disk = (path.split('/').at(-1) ?? '').replaceAll(/[^\w.-]/g, '_') || 'disk';
  return far === undefined ? disk : `${hostOf(far).replaceAll(/[^\w.-]/g, '_')}-${disk}`;
}

function hostNameOf({ far }: Place): string {
  return far === undefined ? THIS_MACHINE : hostOf(far).toLowerCase();
}

/** What is the same disk by its name; other names of it are found by ddt-receive. */
function diskOf(place: Place): string {
  return `${hostNameOf(place)} ${place.path.startsWith('/') ? posix.normalize(place.path) : place.path}`;
}

function conflictsIn(jobs: readonly Job[]): Problem[] {
  const found: Problem[] = [];
  const targets = new Map<string, Job>();
  const names = new Map<string, Job>();
  for (const job of jobs) {
    const { line, target, name } = job;
    const earlier = targets.get(diskOf(target));
    if (earlier === undefined) targets.set(diskOf(target), job);
    else found.push({ line, text: `the target ${target.text} is that of line ${earlier.line}, too` });
    // Names that differ only in capitals are one file on some disks.
    const same = names.get(name.toLowerCase());
    if (same === undefined) names.set(name.toLowerCase(), job);
    else if (earlier === undefined)
      found.push({ line, text: `the name ${name} is that of line ${same.line}, too: give it another one` });
  }
  for (const { line, source } of jobs) {
    const writer = targets.get(diskOf(source));
    if (writer === undefined) continue;
    const text =
      writer.line === line
        ? `the source ${source.text} is its own target`
        : `the source ${source.text} is the target of line ${writer.line}`;
    found.push({ line, text });
  }
  return found;
}
