/** `--dry-run`: what would be run, in which order, and how large it is. */
import { EXIT_STATUS } from '../common/errors.ts';
import { printable } from '../common/text.ts';
import { formatSize } from '../common/units.ts';
import { askSizes, type AskParts, type DiskFacts } from './disk-sizes.ts';
import { isFinished, type JobRecord } from './fleet-journal.ts';
import type { Job, Place } from './job.ts';

export interface PlanParts extends Omit<AskParts, 'onFacts'> {
  readonly isJson: boolean;
  readonly writeOut: (text: string) => void;
}

/** @returns the exit status. */
export async function showPlan(
  jobs: readonly Job[],
  records: ReadonlyMap<string, JobRecord>,
  { isJson, writeOut, ...ask }: PlanParts,
): Promise<number> {
  const facts = new Map<Place, DiskFacts>();
  const open = jobs.filter(({ key }) => !isFinished(records.get(key)?.result));
  const onFacts = (place: Place, found: DiskFacts): void => void facts.set(place, found);
  await askSizes(
    open.flatMap(({ source, target }) => [source, target]),
    { ...ask, onFacts },
  );
  let bytesKnown = 0;
  let unknown = 0;
  for (const job of jobs) {
    const record = records.get(job.key);
    const source = facts.get(job.source);
    const target = facts.get(job.target);
    const plan = { job, record, source, target };
    const isSkipped = isFinished(record?.result);
    if (!isSkipped && source?.sizeBytes === undefined) unknown++;
    else if (!isSkipped) bytesKnown += source?.sizeBytes ?? 0;
    writeOut(isJson ? `${JSON.stringify(planEvent(plan))}\n` : planText(plan));
  }
  if (isJson) {
    const sum = { count: jobs.length, skipped: jobs.length - open.length, bytesTotal: bytesKnown, unknown };
    writeOut(`${JSON.stringify({ event: 'plan', ...sum })}\n`);
  } else {
    const rest = unknown === 0 ? '' : `, and ${unknown} of unknown size`;
    writeOut(
      `plan     ${open.length} of ${jobs.length} jobs, ${formatSize(bytesKnown)}${rest}; nothing was sent\n`,
    );
  }
  return EXIT_STATUS.unproven;
}

interface Plan {
  readonly job: Job;
  readonly record: JobRecord | undefined;
  readonly source: DiskFacts | undefined;
  readonly target: DiskFacts | undefined;
}

function planText({ job, record, source, target }: Plan): string {
  const { name, line } = job;
  if (record !== undefined && isFinished(record.result))
    return `skip     ${name}: ${record.result === 'complete' ? 'complete' : 'finished, not proven'} before\n`;
  const size = ({ sizeBytes, isMissing = false }: Partial<DiskFacts> = {}): string =>
    sizeBytes === undefined ? (isMissing ? 'not there' : 'size unknown') : formatSize(sizeBytes);
  const how = `${job.source.text}, ${size(source)}, onto ${job.target.text}, ${size(target)}`;
  const failed = record === undefined ? '' : ` (failed before: ${printable(record.reason ?? '')})`;
  const notes = notesOf({ source, target }).map((note) => `note     line ${line}: ${note}\n`);
  return `run      ${name}: ${how}${failed}\n${notes.join('')}`;
}

function notesOf({ source, target }: Pick<Plan, 'source' | 'target'>): string[] {
  const notes: string[] = [];
  if (source?.trouble !== undefined) notes.push(`source: ${source.trouble}`);
  // A target that is not there becomes a file.
  else if (source?.isMissing === true) notes.push('source: there is nothing with this name');
  if (target?.trouble !== undefined) notes.push(`target: ${target.trouble}`);
  const isSmall = (target?.sizeBytes ?? Infinity) < (source?.sizeBytes ?? 0);
  // A file grows.
  if (isSmall && target?.isFile !== true) notes.push('target: it is smaller than the source');
  return notes;
}

function planEvent({ job, record, source, target }: Plan): Readonly<Record<string, unknown>> {
  const isSkipped = isFinished(record?.result);
  return {
    job: job.name,
    event: 'planned',
    isSkipped,
    source: job.source.text,
    target: job.target.text,
    sourceBytes: source?.sizeBytes ?? null,
    targetBytes: target?.sizeBytes ?? null,
    notes: isSkipped ? [] : notesOf({ source, target }),
  };
}
