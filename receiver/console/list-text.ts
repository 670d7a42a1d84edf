/** The lines of `ddt-receive --list`. Pure. */
import { diskKind, diskName } from '../../common/disk/disk-line.ts';
import type { SourceDescription } from '../../common/protocol/protocol.ts';
import { formatSize } from '../../common/units.ts';

/** What is listed of a transfer; see `TransferSummary`. */
export interface TransferToList {
  readonly state: 'unclaimed' | 'open' | 'sealed';
  readonly target: {
    readonly path: string;
    readonly byId: string | null;
    readonly description: string;
    readonly serial: string | null;
    readonly sizeBytes: number | null;
  } | null;
  readonly source: SourceDescription | null;
  readonly sizeBytes: number | null;
  readonly blockCount: number | null;
  readonly durableBlocks: number;
}

export interface EntryToList {
  readonly journal: string;
  readonly changedMs: number;
  readonly processId: number | null;
  readonly isInUse: boolean;
  readonly transfer?: TransferToList;
  readonly problem?: string;
}

export function listLines(entry: EntryToList): string[] {
  const { journal, changedMs, processId, isInUse, transfer, problem } = entry;
  const process = processId === null ? '' : `, process ${processId}`;
  const changed = new Date(changedMs).toISOString().replace(/^(.*)T(.*)\..*$/, '$1 $2 UTC');
  return [
    ...(transfer === undefined ? [] : transferLines(transfer)),
    ...(problem === undefined ? [] : [`problem  ${problem}`]),
    `changed  ${changed}`,
    `journal  ${journal}`,
    `receiver ${isInUse ? `running${process}` : 'not running'}`,
  ];
}

function transferLines(transfer: TransferToList): string[] {
  const { target, source, sizeBytes } = transfer;
  const size = (bytes: number | null): string => (bytes === null ? '' : `, ${formatSize(bytes)}`);
  const lines: string[] = [];
  if (target !== null) {
    lines.push(`target   ${diskName(target)}: ${diskKind(target)}${size(target.sizeBytes)}`);
  }
  lines.push(`state    ${stateText(transfer)}`);
  if (source !== null) {
    const place = source.path === '' ? '' : `${diskName(source)}: `;
    lines.push(`source   ${place}${diskKind(source)}${size(sizeBytes)}`);
  }
  return lines;
}

function stateText({ state, blockCount, durableBlocks }: TransferToList): string {
  if (state === 'unclaimed') return 'waiting for a sender';
  if (blockCount === null) return `open: ${durableBlocks} blocks durable, size not known yet`;
  if (state === 'sealed') return `sealed: all ${blockCount} blocks`;
  // 100 % would look complete.
  const percent = blockCount === 0 ? 0 : Math.min(99, Math.floor((durableBlocks / blockCount) * 100));
  return `open, ${percent} %: ${durableBlocks} of ${blockCount} blocks durable`;
}
