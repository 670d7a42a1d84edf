/** Receipts of copies that nobody has made, really signed. */
import { hash } from 'node:crypto';
import type { SealReceipt } from '../../common/protocol/protocol.ts';
import { RECEIPT_NAMESPACE, RECEIVER_KEY_COMMENT } from '../../common/trust/receipt-signer.ts';
import { armorSshsig, makeSigningKey, publicKeyLine, signSsh } from '../../common/trust/ssh-signature.ts';

export interface CopyFacts {
  readonly size: number;
  readonly blockSize: number;
  /** 32 bytes a block. */
  readonly digests: Buffer;
  readonly more?: Partial<SealReceipt>;
}

/** @returns the exact text, and its armored signature. */
export function signedReceipt({ size, blockSize, digests, more = {} }: CopyFacts): {
  receipt: string;
  signature: string;
} {
  const key = makeSigningKey();
  const now = '2026-11-29T14:30:00.000Z';
  const receipt: SealReceipt = {
    v: 1,
    transferId: 'aa1efd11-b91c-4de8-8fca-faa17d7f5801',
    size,
    blockSize,
    blockCount: Math.ceil(size / blockSize),
    digest: 'sha-256',
    root: `sha256:${hash('sha256', digests, 'hex')}`,
    verified: 'read-back',
    readBack: 'direct',
    unreadable: [],
    leftOut: null,
    sealedAt: now,
    verifiedAt: now,
    generation: 1,
    previous: null,
    target: {
      description: 'object store',
      path: 's3://disks#web1',
      model: null,
      serial: null,
      byId: null,
      size: null,
      sectorBytes: null,
      content: [],
    },
    source: { description: 'regular file', path: '/disk.img', model: null, serial: null, byId: null },
    receiverKey: publicKeyLine(key.publicKey, RECEIVER_KEY_COMMENT),
    ...more,
  };
  const text = `${JSON.stringify(receipt, null, 2)}\n`;
  return { receipt: text, signature: armorSshsig(signSsh(key, RECEIPT_NAMESPACE, Buffer.from(text))) };
}
