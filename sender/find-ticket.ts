/** Tickets: from the command line, a file, standard input or the environment; signed, if they are public. */
import { createReadStream, type Stats } from 'node:fs';
import { open } from 'node:fs/promises';
import { TransferError, reasonOf } from '../common/errors.ts';
import { weakSecret } from '../common/io/strict-modes.ts';
import { atAddress, parsePublicTicket, parseTicket, type Ticket } from '../common/trust/ticket.ts';
import type { SendOptions } from './cli.ts';
import { isStandardInput } from './open-source.ts';
import { signToken, type SignOptions } from './sign-token.ts';

/** A ticket has about 600 bytes. What is larger is another file, perhaps a disk. */
const TICKET_FILE_BYTES_MAX = 64 * 1024;
const STANDARD_INPUT_FD = 0;

/** One for each source, in their order. @throws TransferError `usage`. */
export async function findTickets(
  options: SendOptions,
  signing: Omit<SignOptions, 'identity'>,
): Promise<readonly Ticket[]> {
  const { connect, identity } = options;
  const tickets: Ticket[] = [];
  for (const text of linesOf(await findText(options), options)) {
    const ticket =
      identity === undefined
        ? parseTicket(text)
        : await signToken(parsePublicTicket(text), { ...signing, identity });
    tickets.push(connect === undefined ? ticket : atAddress(ticket, connect.host, connect.port));
  }
  return tickets;
}

/** A single ticket may be broken into several lines. @throws TransferError `usage`. */
function linesOf(text: string, { sources, ticketFile }: SendOptions): readonly string[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const tickets = lines.filter((line) => /https?:\/\//i.test(line));
  if (sources.length === 1 && tickets.length <= 1) return [text];
  if (tickets.length === lines.length && tickets.length === sources.length) return tickets;
  const name = ticketFile === undefined || ticketFile === '-' ? 'the input' : ticketFile;
  const found = tickets.length === 1 ? 'one ticket' : `${tickets.length} tickets`;
  const needed = sources.length === 1 ? 'there is one source' : `there are ${sources.length} sources`;
  throw new TransferError('usage', `cannot use the tickets in ${name}: it has ${found}, ${needed}`, {
    hint: 'a line for each source, in the same order, as ddt-receive --ticket-file writes them',
  });
}

async function findText({ ticket, ticketFile, sources, identity }: SendOptions): Promise<string> {
  if (ticket !== undefined) return ticket;
  if (ticketFile !== undefined) {
    if (ticketFile === '-' && sources.some(isStandardInput)) {
      throw new TransferError('usage', 'source and ticket cannot both come from standard input', {
        hint: 'put the ticket into a file: --ticket-file ticket.txt',
      });
    }
    return await readTicketFile(ticketFile, identity === undefined);
  }
  const fromEnvironment = process.env['DDT_TICKET'];
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment;
  throw new TransferError('usage', 'no target given', {
    hint:
      'ddt-send <source> root@vm:/dev/vdd; or with the ticket that ddt-receive prints: ' +
      "ddt-send <source> '<ticket>'",
  });
}

async function readTicketFile(path: string, isSecret: boolean): Promise<string> {
  const isStdin = path === '-';
  const name = isStdin ? 'standard input' : path;
  // One byte more than allowed, to notice a longer one.
  const options = { autoClose: false, end: TICKET_FILE_BYTES_MAX };
  try {
    await using handle = isStdin ? null : await open(path);
    const stream =
      handle?.createReadStream(options) ?? createReadStream('', { fd: STANDARD_INPUT_FD, ...options });
    const bytes = Buffer.concat(await Array.fromAsync(stream as AsyncIterable<Buffer>));
    if (bytes.length <= TICKET_FILE_BYTES_MAX) {
      if (isSecret) refuseWeak(path, await handle?.stat());
      return bytes.toString();
    }
  } catch (error) {
    if (error instanceof TransferError) throw error;
    throw new TransferError('usage', `cannot read the ticket from ${name}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  throw new TransferError('usage', `cannot read the ticket from ${name}: it is too large to be a ticket`);
}

function refuseWeak(path: string, stats: Stats | undefined): void {
  // A pipe, as of a shell's <(…), is nobody else's.
  const weakness = stats?.isFile() === true ? weakSecret(path, stats) : undefined;
  if (weakness === undefined) return;
  const message = `cannot use the ticket in ${path}: ${weakness.reason}`;
  throw new TransferError('usage', message, { hint: weakness.hint });
}
