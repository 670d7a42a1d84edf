/**
 * Who the receiver is: its TLS key and certificate, and the key that signs tokens and receipts, made once in
 * the place of its keys. The only importer of @peculiar/x509.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { dirname, resolve } from 'node:path';
import { systemClock } from '../../common/clock.ts';
import type * as X509 from '@peculiar/x509';
import { weakFolderAbove } from '../../common/io/strict-modes.ts';
import { TransferError } from '../../common/errors.ts';
import { makeSigningKey, SEED_BYTES, type SigningKey } from '../../common/trust/ssh-signature.ts';
import { pinOfPublicKey } from '../../common/trust/ticket.ts';
import { keysInFolder, type KeyPlace } from './key-place.ts';
import { readIfThere, readSecret } from './secret-file.ts';
import { refuser, type Refuse } from './state-dir.ts';

/** P-256 rather than Ed25519, which older TLS libraries of curl lack. */
const CURVE = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const DAY_MS = 86_400_000;
/** A hundred years: only the pin counts, and it must not expire. */
const VALIDITY_MS = 36_525 * DAY_MS;
/** Anyone who connects reads it: it names neither the program nor the machine. No client looks at it. */
const CERTIFICATE_NAME = 'server';

export interface ReceiverIdentity {
  readonly certificatePem: string;
  readonly keyPem: string;
  /** `sha256//…`, see ticket.ts. */
  readonly pin: string;
}

/** Where a pair is, and how to refuse it. */
interface PairFiles {
  readonly certificatePath: string;
  readonly keyPath: string;
  readonly refuseCertificate: Refuse;
  readonly refuseKey: Refuse;
}

/**
 * The operator's own key and certificate, or those of the place, created there when absent.
 * @param place a state folder by its path, prepared.
 * @throws TransferError `state-refused` or `no-space` for those of the place, `usage` for the operator's.
 */
export async function loadOrMakeIdentity(
  place: KeyPlace | string,
  options: { certificatePath?: string; keyPath?: string } = {},
): Promise<ReceiverIdentity> {
  const { certificatePath, keyPath } = options;
  if (certificatePath === undefined && keyPath === undefined) return loadOrMakeOwn(placeOf(place));
  if (certificatePath === undefined || keyPath === undefined) {
    const [given, lacking] = keyPath === undefined ? ['cert', 'key'] : ['key', 'cert'];
    throw new TransferError('usage', `cannot use --tls-${given} alone: --tls-${lacking} is missing`, {
      hint: 'give both, or neither: then the receiver uses its own pair',
    });
  }
  const hint = 'give a certificate and its private key, both in PEM form and the key without a passphrase';
  const files = describePair(certificatePath, keyPath, 'usage', hint);
  const certificatePem = await readIfThere(certificatePath, files.refuseCertificate);
  const weakness = await weakFolderAbove(dirname(resolve(keyPath)));
  if (weakness !== undefined) files.refuseKey(weakness.reason, weakness.hint);
  const keyPem = await readSecret(keyPath, files.refuseKey);
  if (certificatePem === undefined) return files.refuseCertificate('no such file or directory');
  if (keyPem === undefined) return files.refuseKey('no such file or directory');
  return checkPair(files, certificatePem, keyPem);
}

/**
 * The key that signs tokens and receipts, created there when absent.
 * @param where as for {@link loadOrMakeIdentity}.
 * @throws TransferError `state-refused`, `no-space`.
 */
export async function loadOrMakeSigningKey(where: KeyPlace | string): Promise<SigningKey> {
  const place = placeOf(where);
  const name = 'signing-key';
  const hint = `restore it from a backup, or remove it and print new tickets: ${place.removal([name])}`;
  const refuse = refuser('state-refused', `cannot use the signing key ${place.pathOf(name)}`, hint);
  const text =
    (await place.readSecret(name, refuse)) ??
    (await place.makeSecret(name, `${randomBytes(SEED_BYTES).toString('base64')}\n`, refuse));
  const seed = Buffer.from(text, 'base64');
  const isWhole = seed.length === SEED_BYTES && seed.toString('base64') === text.trim();
  return isWhole ? makeSigningKey(seed) : refuse('it is damaged');
}

/**
 * What `openssl x509 -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64`
 * prints, with `sha256//` in front.
 * @param pem one certificate, or a chain of which the first counts.
 * @throws what node:crypto throws when it is not a certificate.
 */
export function pinOfCertificate(pem: string): string {
  return pinOfPublicKey(new X509Certificate(pem).publicKey);
}

/**
 * The key is created first, and only once however many receivers start at the same time. The certificate can
 * be made again from it, with the same pin. So no crash leaves a pair that does not match.
 */
async function loadOrMakeOwn(place: KeyPlace): Promise<ReceiverIdentity> {
  const [certificateName, keyName] = ['tls-cert.pem', 'tls-key.pem'];
  const certificatePath = place.pathOf(certificateName);
  const keyPath = place.pathOf(keyName);
  const hint =
    `restore both files from a backup, or remove both for a new identity, ` +
    `which invalidates all earlier tickets: ${place.removal([certificateName, keyName])}`;
  const files = describePair(certificatePath, keyPath, 'state-refused', hint);
  // In this order: a certificate that another receiver has just created comes after its key.
  let certificatePem = await place.readPublic(certificateName, files.refuseCertificate);
  let keyPem = await place.readSecret(keyName, files.refuseKey);
  if (keyPem === undefined && certificatePem !== undefined) {
    return files.refuseKey(`it is missing, but its certificate ${certificatePath} exists`);
  }
  keyPem ??= await place.makeSecret(keyName, makeKeyPem(), files.refuseKey);
  if (certificatePem === undefined) {
    certificatePem = await makeCertificate(files, keyPem);
    await place.writePublic(certificateName, certificatePem);
  }
  return checkPair(files, certificatePem, keyPem);
}

function placeOf(place: KeyPlace | string): KeyPlace {
  return typeof place === 'string' ? keysInFolder(place) : place;
}

function describePair(
  certificatePath: string,
  keyPath: string,
  code: 'usage' | 'state-refused',
  hint: string,
): PairFiles {
  const refuseCertificate = refuser(code, `cannot use the TLS certificate ${certificatePath}`, hint);
  const refuseKey = refuser(code, `cannot use the TLS key ${keyPath}`, hint);
  return { certificatePath, keyPath, refuseCertificate, refuseKey };
}

function checkPair(files: PairFiles, certificatePem: string, keyPem: string): ReceiverIdentity {
  const key = parseKey(files, keyPem);
  const certificate = parseCertificate(files, certificatePem);
  if (!certificate.checkPrivateKey(key)) {
    return files.refuseKey(`it does not belong to the certificate ${files.certificatePath}`);
  }
  return { certificatePem, keyPem, pin: pinOfPublicKey(certificate.publicKey) };
}

function parseKey(files: PairFiles, pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // OpenSSL's own error helps nobody.
    const isLocked = pem.includes('ENCRYPTED');
    return files.refuseKey(isLocked ? 'it has a passphrase' : 'it is not a private key in PEM form');
  }
}

function parseCertificate(files: PairFiles, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    return files.refuseCertificate('it is not a certificate in PEM form');
  }
}

function makeKeyPem(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: CURVE.namedCurve });
  return privateKey.export({ type: 'pkcs8', format: 'pem' });
}

/** The certificate of a key; one that another receiver made meanwhile has the same pin. */
async function makeCertificate(files: PairFiles, keyPem: string): Promise<string> {
  const key = parseKey(files, keyPem);
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    return files.refuseKey('its certificate is missing, and can only be made again for a P-256 key');
  }
  return await selfSign(key);
}

/** Version 3 with a random serial number (RFC 5280), for clients that check more than the pin. */
async function selfSign(key: KeyObject): Promise<string> {
  const x509 = await loadX509();
  const keys = {
    privateKey: key.toCryptoKey(CURVE, false, ['sign']),
    publicKey: createPublicKey(key).toCryptoKey(CURVE, true, ['verify']),
  };
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${CERTIFICATE_NAME}`,
    // The clock of a sender that runs from a live CD may be hours behind.
    notBefore: new Date(systemClock.wallMs() - DAY_MS),
    notAfter: new Date(systemClock.wallMs() + VALIDITY_MS),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    keys,
    extensions: [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: CERTIFICATE_NAME }]),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

/**
 * Loaded only to make a certificate: it takes 80 ms. Its dependency tsyringe refuses to load without
 * Reflect.getMetadata (npm's reflect-metadata), although x509 is compiled without any metadata: while it
 * loads, a stand-in that knows nothing will do.
 */
async function loadX509(): Promise<typeof X509> {
  if ('getMetadata' in Reflect) return import('@peculiar/x509');
  const standIn = { getMetadata: () => undefined, getOwnMetadata: () => undefined };
  Object.assign(Reflect, standIn);
  try {
    return await import('@peculiar/x509');
  } finally {
    for (const name of Object.keys(standIn)) Reflect.deleteProperty(Reflect, name);
  }
}
