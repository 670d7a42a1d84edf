/** Stores in a real Ceph, through its gateway, and what only a test does to one. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { AwsV4Signer } from 'aws4fetch';
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { ObjectStore, type StoredCopy } from '../../common/store/object-store.ts';
import { parseStoreName } from '../../common/store/store-name.ts';
import type { CephGateway } from './ceph.ts';

/** Of a command that uses the gateway, or of {@link ObjectStore.open}: the variables of every tool for S3. */
export function storeEnvironment({ accessKey, secretKey, region, endpoint }: CephGateway): NodeJS.ProcessEnv {
  return {
    AWS_ACCESS_KEY_ID: accessKey,
    AWS_SECRET_ACCESS_KEY: secretKey,
    AWS_REGION: region,
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_EC2_METADATA_DISABLED: 'true',
  };
}

/** @param name `s3://bucket/prefix`; the bucket exists. */
export async function openStore(gateway: CephGateway, name: string): Promise<ObjectStore> {
  const environment = storeEnvironment(gateway);
  return await ObjectStore.open(parseStoreName(name), { endpoint: undefined, environment });
}

export async function makeBucket(gateway: CephGateway, bucket: string): Promise<void> {
  await request(gateway, { method: 'PUT', path: bucket });
}

/**
 * Behind everyone's back: the service compares the digest in a request with its body, so wrong bytes come
 * with their own.
 * @param key with the prefix.
 */
export async function overwrite(
  gateway: CephGateway,
  { bucket, key, bytes }: { bucket: string; key: string; bytes: Buffer },
): Promise<void> {
  await request(gateway, { method: 'PUT', path: `${bucket}/${key}`, body: bytes });
}

async function request(
  { accessKey, secretKey, region, endpoint }: CephGateway,
  { method, path, body }: { method: string; path: string; body?: Buffer },
): Promise<void> {
  const signer = new AwsV4Signer({
    method,
    url: `${endpoint}/${path}`,
    accessKeyId: accessKey,
    secretAccessKey: secretKey,
    service: 's3',
    region,
  });
  const { url, headers } = await signer.sign();
  const response = await fetch(url, { method, headers, ...(body === undefined ? {} : { body }) });
  assert(response.ok, `${method} ${path}: ${response.status} ${await response.text()}`);
}

/** Everything of the store, in the order of keys. */
export async function keysIn(store: ObjectStore, folder = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(folder)) keys.push(key);
  return keys;
}

/** The disk of a sealed copy, chunk by chunk as its manifest says, each compared with its digest. */
export async function storedDisk(store: ObjectStore, copy: StoredCopy): Promise<Buffer> {
  const { receipt, digests } = await store.readCopy(copy);
  const disk = Buffer.alloc(receipt.size);
  for (let index = 0; index < receipt.blockCount; index++) {
    const digest = digests.subarray(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
    const block = disk.subarray(index * receipt.blockSize, (index + 1) * receipt.blockSize);
    const isZeros = hash('sha256', block, 'buffer').equals(digest);
    if (!isZeros) assert.equal(await store.readChunk(block, digest), 'equal', `block ${index}`);
  }
  return disk;
}
