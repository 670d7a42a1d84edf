/** Signatures in OpenSSH's form by keys of node:crypto: of algorithms that ssh-keygen cannot be asked for. */
import { generateKeyPairSync, hash, sign, type KeyObject } from 'node:crypto';
import { encodeString } from '../../common/trust/ssh-wire.ts';
import { TOKEN_NAMESPACE, tokenOf, type TokenPayload } from '../../common/trust/token.ts';

export function strings(...parts: readonly (string | Buffer)[]): Buffer {
  return Buffer.concat(parts.map(encodeString));
}

/** The shortest spelling of a number. */
export function mpint(bytes: Buffer): Buffer {
  const short = bytes.subarray(bytes.findIndex((byte) => byte !== 0));
  return (short[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.alloc(1), short]) : short;
}

export function numberIn(key: KeyObject, name: 'x' | 'y' | 'n' | 'e'): Buffer {
  return Buffer.from(key.export({ format: 'jwk' })[name] ?? '', 'base64url');
}

export function rsaPublicKey(key: KeyObject): Buffer {
  return strings('ssh-rsa', mpint(numberIn(key, 'e')), mpint(numberIn(key, 'n')));
}

/** What a signature covers, PROTOCOL.sshsig section 3, with SHA-512. */
export function signedBytes(namespace: string, message: Buffer): Buffer {
  const parts = [namespace, '', 'sha512', hash('sha512', message, 'buffer')];
  return Buffer.concat([Buffer.from('SSHSIG'), strings(...parts)]);
}

/** The binary signature. @param signature the algorithm's name and bytes. */
export function sshsig(namespace: string, publicKey: Buffer, signature: Buffer): Buffer {
  const preamble = Buffer.from('SSHSIG\0\0\0\x01', 'latin1');
  return Buffer.concat([preamble, strings(publicKey, namespace, '', 'sha512', signature)]);
}

/** A user with an RSA key, who signs tokens. */
export class RsaUser {
  readonly publicKey: Buffer;
  readonly #privateKey: KeyObject;

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.publicKey = rsaPublicKey(publicKey);
    this.#privateKey = privateKey;
  }

  token(payload: TokenPayload): string {
    const bytes = Buffer.from(JSON.stringify(payload));
    const raw = sign('sha512', signedBytes(TOKEN_NAMESPACE, bytes), this.#privateKey);
    return tokenOf(bytes, sshsig(TOKEN_NAMESPACE, this.publicKey, strings('rsa-sha2-512', raw)));
  }
}
