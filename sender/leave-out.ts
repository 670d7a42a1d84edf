/** What of a source is not copied: `--domain-mapfile` and `--used-only`. */
import { countLeftOut, leftOutOf } from '../common/protocol/left-out.ts';
import type { DiskOptions } from './cli.ts';
import type { Reporter } from './display/reporter.ts';
import { readDomain } from './domain/domain-mapfile.ts';
import { freeAreasOf } from './domain/used-only.ts';
import type { Area } from '../common/areas.ts';
import { leavingOut } from './source/leaving-out.ts';
import type { Source } from './source/source.ts';
import type { Stream } from './source/stream.ts';

export type LeaveOutOptions = Pick<DiskOptions, 'domainMapfile' | 'isUsedOnly' | 'mapAlso'>;

/**
 * Call it when writes to the source are watched: a map is of the file systems as they were before.
 * @returns the source as it is to be read. @throws TransferError `usage`.
 */
export async function leaveOut(
  source: Source | Stream,
  options: LeaveOutOptions,
  reporter: Pick<Reporter, 'fact'>,
): Promise<Source | Stream> {
  const { path } = source.description;
  if (!source.canReread) return source;
  const areas = await areasFor(source, options, reporter);
  if (areas === undefined) return source;
  const leftOut = leftOutOf(areas);
  if (leftOut === null) {
    reporter.fact(`note     nothing of ${path} is left out: all of it is copied`);
    return source;
  }
  reporter.fact(`omitted  ${countLeftOut(leftOut)} of ${path}, not read: zeros on the target`);
  return leavingOut(source, areas);
}

/** @returns undefined: nothing was to be left out. */
async function areasFor(
  source: Source,
  { domainMapfile, isUsedOnly, mapAlso }: LeaveOutOptions,
  reporter: Pick<Reporter, 'fact'>,
): Promise<readonly Area[] | undefined> {
  if (domainMapfile !== undefined) {
    const { leftOut, note } = await readDomain(domainMapfile, source.sizeBytes);
    if (note !== undefined) reporter.fact(`note     ${note}`);
    return leftOut;
  }
  if (!isUsedOnly || source.disk === undefined) return undefined;
  return await freeAreasOf(source.disk, { also: mapAlso, say: (text) => reporter.fact(text) });
}
