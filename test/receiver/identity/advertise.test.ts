import assert from 'node:assert/strict';
import { isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { defaultAdvertiseHost, isPrivateAddress } from '../../../receiver/identity/advertise.ts';

test('who listens on one address advertises that', async () => {
  for (const host of ['192.0.2.7', '127.0.0.1', '::1', 'vm.example.net']) {
    assert.equal(await defaultAdvertiseHost(host), host);
  }
});

test('who listens everywhere advertises an address of this machine, loopback only in need', async () => {
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const outward = own.filter(({ family, internal }) => family === 'IPv4' && !internal);
  for (const host of ['0.0.0.0', '::']) {
    const advertised = await defaultAdvertiseHost(host);
    assert(isIPv4(advertised));
    const possible = outward.length > 0 ? outward.map(({ address }) => address) : ['127.0.0.1'];
    assert(possible.includes(advertised), `${advertised} of ${possible.join()}`);
  }
});

test('addresses that the internet does not reach are those of RFC 1918 and RFC 6598', () => {
  for (const [host, isPrivate] of [
    ['10.0.0.1', true],
    ['10.255.255.255', true],
    ['11.0.0.1', false],
    ['9.255.255.255', false],
    ['172.15.255.255', false],
    ['172.16.0.0', true],
    ['172.31.255.255', true],
    ['172.32.0.0', false],
    ['192.167.1.1', false],
    ['192.168.0.1', true],
    ['192.169.0.1', false],
    ['100.63.255.255', false],
    ['100.64.0.0', true],
    ['100.99.1.1', true],
    ['100.127.255.255', true],
    ['100.128.0.0', false],
    ['203.0.113.7', false],
    ['110.0.0.1', false],
    ['vm.example.net', false],
    ['2001:db8::1', false],
  ] as const) {
    assert.equal(isPrivateAddress(host), isPrivate, host);
  }
});
