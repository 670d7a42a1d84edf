/** The words beside the options: sources, and a target on another machine or a ticket. Pure. */
import { TransferError } from '../common/errors.ts';
import { parseFormat } from '../common/nbd/image-format.ts';
import { isStoreName } from '../common/store/store-name.ts';
import { looksLikeTicket } from '../common/trust/ticket.ts';
import { parseDestination, type Destination } from '../common/ssh/destination.ts';

export const HINT_HELP = 'ddt-send --help';

export interface Arguments {
  /** In the order of their targets. */
  readonly sources: readonly string[];
  readonly ticket: string | undefined;
  readonly destination: Destination | undefined;
}

/**
 * Sources and target, or one source and a ticket in either order; the words of a ticket that was split at
 * blanks are joined again.
 * @param hasTicketFile the tickets are elsewhere: all words may be sources.
 * @throws TransferError `usage`.
 */
export function readArguments(words: readonly string[], hasTicketFile: boolean): Arguments {
  const last = words.at(-1) ?? '';
  const hasTicket = words.some((word) => looksLikeTicket(word));
  const destination = words.length < 2 || hasTicket ? undefined : parseDestination(last);
  if (destination !== undefined && words.length > 2) {
    return { sources: words.slice(0, -1), ticket: undefined, destination };
  }
  if (hasTicketFile && !hasTicket && destination === undefined) {
    return { sources: words, ticket: undefined, destination };
  }
  const { source, target } = readPair(words);
  const ticket = destination === undefined ? target : undefined;
  // Somebody may have pasted a whole command with a ticket in it.
  if (ticket !== undefined && !looksLikeTicket(ticket) && !/https?:/i.test(ticket)) refuseTarget();
  return { sources: [source], ticket, destination };
}

function readPair(words: readonly string[]): { source: string; target: string | undefined } {
  const [first = ''] = words;
  const isSwapped = looksLikeTicket(first);
  const source = isSwapped ? words.at(-1) : first;
  const rest = isSwapped ? words.slice(0, -1) : words.slice(1);
  if (source === undefined || rest.length === 0) {
    if (!isSwapped) return { source: first, target: undefined };
    throw new TransferError('usage', 'no source given: the only argument is a ticket', {
      hint: "ddt-send <source> '<ticket>'",
    });
  }
  if (rest.length > 1 && !looksLikeTicket(rest[0] ?? '')) refuseParts(words.length);
  return { source, target: rest.join(' ') };
}

/**
 * `/dev/vdb,/dev/vdc` for two sources; a comma in the path for a single one belongs to it.
 * @throws TransferError `usage`.
 */
export function targetPaths({ path }: Destination, sourceCount: number): readonly string[] {
  if (sourceCount === 1) return [path];
  const paths = path.split(',');
  if (paths.length === sourceCount && !paths.includes('')) return paths;
  const found = paths.length === 1 ? '1 target' : `${paths.length} targets`;
  throw new TransferError('usage', `${sourceCount} sources and ${found}: each source needs one`, {
    hint: 'in the same order, with commas: ddt-send /dev/sda /dev/sdb root@vm:/dev/vdb,/dev/vdc',
  });
}

/** Where it would not be clear which of several sources is meant. */
const OPTIONS_OF_ONE = ['--source-size', '--mapfile', '--domain-mapfile', '--steered'];

/** Options that are not for so many sources, or not for a pipe. @throws TransferError `usage`. */
export function refuseForSources(sources: readonly string[], isGiven: (option: string) => boolean): void {
  if (sources[0] === '-' && isGiven('--steered')) {
    throw new TransferError('usage', '--steered takes a disk or a file', { hint: HINT_HELP });
  }
  if (sources.length === 1) return;
  const option = OPTIONS_OF_ONE.find(isGiven);
  if (option !== undefined) {
    throw new TransferError('usage', `${option} is for one source, and ${sources.length} are given`, {
      hint: 'copy that one by itself',
    });
  }
  if (!sources.includes('-')) return;
  throw new TransferError('usage', 'standard input cannot be one of several sources', { hint: HINT_HELP });
}

/** `--target-format`, for the receiver there. @throws TransferError `usage`. */
export function formatWords(text: string | undefined): string[] {
  return text === undefined ? [] : ['--format', parseFormat(text, '--target-format')];
}

/** @throws TransferError `usage` for an endpoint that no source would be looked for at. */
export function refuseEndpoint(sources: readonly string[], endpoint: string | undefined): void {
  if (endpoint === undefined || sources.some(isStoreName)) return;
  throw new TransferError('usage', '--s3-endpoint is for a source in an object store', {
    hint: 'ddt-send s3://bucket/disks#web1 root@vm:/dev/vdb',
  });
}

/** Does not show it: it may be a part of a token. */
function refuseTarget(): never {
  const what = 'the second argument is neither a target on another machine nor a ticket';
  throw new TransferError('usage', what, {
    hint: 'with the host, a colon, and the path there: ddt-send <source> root@vm:/dev/vdd',
  });
}

/** Shows none of the arguments: they may be parts of a token. */
export function refuseParts(count: number): never {
  throw new TransferError('usage', `expected a source and a ticket, got ${count} arguments`, {
    hint:
      'an unquoted & or a blank splits the ticket, so put it in single quotes: ' +
      "ddt-send <source> '<ticket>'",
  });
}
