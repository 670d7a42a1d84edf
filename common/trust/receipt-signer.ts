/** Who signed a receipt. */
import { isEd25519, isSignatureGood, parseArmored, publicKeyLine } from './ssh-signature.ts';

export const RECEIPT_NAMESPACE = 'ddt-receipt-v1@dd-transfer';
/** In a `receiverKey`, after the key. */
export const RECEIVER_KEY_COMMENT = 'ddt-receive';

/**
 * Takes milliseconds of the event loop.
 * @param json the receipt byte for byte, a JSON object. @param armored its signature in OpenSSH's text form.
 * @returns the Ed25519 key that signed it and that it names as its `receiverKey`; undefined unless the
 * signature is good and was made for a receipt. Whether that is the right key is for the caller.
 */
export function receiptSigner(json: Buffer, armored: string): Buffer | undefined {
  const signature = parseArmored(armored);
  if (signature?.namespace !== RECEIPT_NAMESPACE) return undefined;
  const { publicKey } = signature;
  if (!isEd25519(publicKey)) return undefined;
  const named: unknown = (JSON.parse(json.toString('utf8')) as { receiverKey?: unknown }).receiverKey;
  if (named !== publicKeyLine(publicKey, RECEIVER_KEY_COMMENT)) return undefined;
  return isSignatureGood(signature, json) ? publicKey : undefined;
}
