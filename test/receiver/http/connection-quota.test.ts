import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConnectionQuota, networkOf } from '../../../receiver/http/connection-quota.ts';

test('an IPv4 address stands for itself, an IPv6 address for its /64', () => {
  for (const [address, network] of [
    ['203.0.113.7', '203.0.113.7'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8::7', '2001:db8:0:0::/64'],
    ['2001:db8:0:0:1::', '2001:db8:0:0::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['an unknown address', 'an unknown address'],
  ] as const) {
    assert.equal(networkOf(address), network, address);
  }
});

const LIMITS = {
  strange: { burst: 4, perSecond: 2 },
  strangeTotal: { burst: 10, perSecond: 5 },
  familiar: { burst: 20, perSecond: 10 },
};
const taken = (quota: ConnectionQuota, network: string, tries: number, nowMs: number): number =>
  Array.from({ length: tries }, () => quota.take(network, nowMs)).filter(Boolean).length;

test('an address has a burst, then a rate', () => {
  const quota = new ConnectionQuota(LIMITS);
  assert.equal(taken(quota, 'a', 50, 1000), 4);
  assert.equal(taken(quota, 'a', 50, 1999), 1);
  assert.equal(taken(quota, 'a', 50, 2999), 2);
  assert.equal(taken(quota, 'a', 50, 3_600_000), 4, 'the burst does not grow');
});

test('all strange addresses together have a limit too, which leaves familiar ones alone', () => {
  const quota = new ConnectionQuota(LIMITS);
  quota.befriend('friend', 0);
  let all = 0;
  for (let network = 0; network < 100; network++) all += taken(quota, `n${network}`, 4, 0);
  assert.equal(all, 10);
  assert.equal(taken(quota, 'friend', 50, 0), 20);
  assert.equal(taken(quota, 'friend', 50, 1000), 10);
  assert.deepEqual([quota.isFamiliar('friend'), quota.isFamiliar('n1')], [true, false]);
});

test('showing the token again gives no new burst', () => {
  const quota = new ConnectionQuota(LIMITS);
  quota.befriend('friend', 0);
  assert.equal(taken(quota, 'friend', 50, 0), 20);
  quota.befriend('friend', 0);
  assert.equal(taken(quota, 'friend', 50, 0), 0);
});

test('who floods has to wait, unless it has shown a good token', () => {
  const quota = new ConnectionQuota(LIMITS);
  assert.equal(taken(quota, 'a', 1, 0), 1);
  quota.befriend('friend', 0);
  for (const network of ['a', 'friend', 'never seen']) quota.punish(network);
  assert.equal(taken(quota, 'a', 50, 15_000), 0);
  assert.equal(taken(quota, 'friend', 50, 0), 20);
  assert.equal(taken(quota, 'a', 50, 60_000), 4);
});

test('however many addresses come, few are remembered', () => {
  const quota = new ConnectionQuota({ ...LIMITS, strangeTotal: { burst: 1e9, perSecond: 1 } });
  quota.befriend('friend', 0);
  for (let network = 0; network < 64; network++) quota.befriend(`f${network}`, 0);
  assert.equal(quota.isFamiliar('friend'), false, 'the one that came first is forgotten');
  assert.equal(taken(quota, 'a', 50, 0), 4);
  for (let network = 0; network < 1023; network++) quota.take(`n${network}`, 0);
  assert.equal(taken(quota, 'a', 50, 0), 0, 'still remembered');
  for (let network = 0; network < 1024; network++) quota.take(`m${network}`, 0);
  assert.equal(taken(quota, 'a', 50, 0), 4);
});
