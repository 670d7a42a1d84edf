/** A receipt counts only with the signature of the receiver that made the ticket. */
import { TransferError } from '../../common/errors.ts';
import { receiptSigner } from '../../common/trust/receipt-signer.ts';
import { fingerprintOf } from '../../common/trust/ssh-signature.ts';
import { receiverOf, type Ticket } from '../../common/trust/ticket.ts';
import type { Seal } from './receiver-port.ts';

/** @throws TransferError `receipt-invalid`. */
export function refuseOtherSigner(
  { text, signature }: Pick<Seal, 'text' | 'signature'>,
  ticket: Ticket,
): void {
  const wanted = receiverOf(ticket);
  const key = receiptSigner(Buffer.from(text), signature);
  const signer = key === undefined ? undefined : fingerprintOf(key);
  if (signer !== undefined && signer === wanted) return;
  const named = ticket.receiver === undefined ? 'the ticket by' : 'the ticket names';
  const why =
    signer === undefined || wanted === undefined
      ? 'its signature is not valid'
      : `it is signed by ${signer}, and ${named} ${wanted}`;
  throw new TransferError('receipt-invalid', `the receipt does not prove anything: ${why}`, {
    hint: 'do not erase the source: check that the ticket is the one that your ddt-receive prints now',
  });
}
