/** Whose signature makes the certificate of an S3 service a good one. */
import { readFile } from 'node:fs/promises';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { TransferError, errnoOf, reasonOf } from '../errors.ts';
import type { Environment, Profile } from './aws-profile.ts';

/** Codes of Node.js and OpenSSL. */
const DISTRUST = /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(GET|VERIFY)_|ERR_TLS_CERT_)/;

/**
 * Those in the file that AWS_CA_BUNDLE names, as for the tools of Amazon; else those of Node.js and of this
 * machine. @throws TransferError `usage` for a file that can't be used.
 */
export async function authoritiesOf(environment: Environment, profile: Profile): Promise<SecureContext> {
  const file = environment['AWS_CA_BUNDLE'] ?? profile['ca_bundle'] ?? '';
  if (file === '') {
    const all = new Set([...getCACertificates('default'), ...getCACertificates('system')]);
    return createSecureContext({ ca: [...all] });
  }
  try {
    return createSecureContext({ ca: await readFile(file) });
  } catch (error) {
    throw new TransferError('usage', `cannot use the certificates in ${file}: ${reasonOf(error)}`, {
      cause: error,
      hint: 'AWS_CA_BUNDLE, or ca_bundle in ~/.aws/config, names a file with certificates in PEM form',
    });
  }
}

/** The service is there, and its certificate is not one to trust. */
export function isDistrust(error: unknown): boolean {
  return DISTRUST.test(errnoOf(error) ?? '');
}
