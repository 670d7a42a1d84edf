/** The ticket: from the command line, a file, standard input or the environment. */
import { createReadStream } from 'node:fs';
import { TransferError, reasonOf } from '../common/errors.ts';
import { atAddress, parseTicket, type Ticket } from '../common/trust/ticket.ts';
import type { SendOptions } from './cli.ts';
import { isStandardInput } from './open-source.ts';

/** A ticket has about 600 bytes. What is larger is another file, perhaps a disk. */
const TICKET_FILE_BYTES_MAX = 64 * 1024;
const STANDARD_INPUT_FD = 0;

/** @throws TransferError `usage`. */
export async function findTicket(options: SendOptions): Promise<Ticket> {
  const ticket = parseTicket(await findText(options));
  const { connect } = options;
  return connect === undefined ? ticket : atAddress(ticket, connect.host, connect.port);
}

async function findText({ ticket, ticketFile, source }: SendOptions): Promise<string> {
  if (ticket !== undefined) return ticket;
  if (ticketFile !== undefined) {
    if (ticketFile === '-' && isStandardInput(source)) {
      throw new TransferError('usage', 'source and ticket cannot both come from standard input', {
        hint: 'put the ticket into a file: --ticket-file ticket.txt',
      });
    }
    return await readTicketFile(ticketFile);
  }
  const fromEnvironment = process.env['DDT_TICKET'];
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment;
  throw new TransferError('usage', 'no ticket given', {
    hint: "start ddt-receive on the target's machine and paste what it prints: ddt-send <source> '<ticket>'",
  });
}

async function readTicketFile(path: string): Promise<string> {
  const isStdin = path === '-';
  const name = isStdin ? 'standard input' : path;
  // One byte more than allowed, to notice a longer one.
  const end = TICKET_FILE_BYTES_MAX;
  try {
    const stream = createReadStream(
      path,
      isStdin ? { fd: STANDARD_INPUT_FD, autoClose: false, end } : { end },
    );
    const bytes = Buffer.concat(await Array.fromAsync(stream as AsyncIterable<Buffer>));
    if (bytes.length <= TICKET_FILE_BYTES_MAX) return bytes.toString();
  } catch (error) {
    throw new TransferError('usage', `cannot read the ticket from ${name}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  throw new TransferError('usage', `cannot read the ticket from ${name}: it is too large to be a ticket`);
}
