/** A receipt counts only with the signature of the receiver that made the ticket. */
import { TransferError } from '../../common/errors.ts';
import { receiptSigner } from '../../common/trust/receipt-signer.ts';
import { fingerprintOf } from '../../common/trust/ssh-signature.ts';
import { receiverKeyIn } from '../../common/trust/ticket.ts';
import type { Seal } from './receiver-port.ts';

/** @param token of the ticket. @throws TransferError `receipt-invalid`. */
export function refuseOtherSigner(
  { text, signature }: Pick<Seal, 'text' | 'signature'>,
  token: string,
): void {
  const key = receiverKeyIn(token);
  const signer = receiptSigner(Buffer.from(text), signature);
  if (key !== undefined && signer?.equals(key) === true) return;
  const why =
    signer === undefined || key === undefined
      ? 'its signature is not valid'
      : `it is signed by ${fingerprintOf(signer)}, and the ticket by ${fingerprintOf(key)}`;
  throw new TransferError('receipt-invalid', `the receipt does not prove anything: ${why}`, {
    hint: 'do not erase the source: check that the ticket is the one that your ddt-receive prints now',
  });
}
