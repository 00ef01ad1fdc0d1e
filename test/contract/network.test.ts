/**
 * What holds for every network driver, whatever the network is made of: interfaces as asked for, who reaches whom, stop and
 * start, repairs, scripts, nothing left. One throwaway host a driver.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { linksSettle } from '../helpers/expect.ts';
import { Host } from '../helpers/host.ts';
import { kernelView } from '../helpers/kernel-view.ts';
import { readIp } from '../helpers/links.ts';
import { makeWords, NETWORK_DRIVERS } from '../helpers/network-drivers.ts';
import { printScript } from '../helpers/script.ts';

const [A4, B4, A6, B6] = ['10.7.0.11', '10.7.0.12', 'fd00:7::11', 'fd00:7::12'];

describe.each(NETWORK_DRIVERS)('$title', (driver) => {
  let host: Host;
  const ok = (...words: string[]) => {
    const result = host.minict(...words);
    expect(result, words.join(' ')).toMatchObject({ status: 0, stderr: '' });
    return result.stdout;
  };
  const pings = (from: string, to: string) => host.minict('exec', from, 'ping', '-c1', '-W5', to).status === 0;
  const makeNetwork = makeWords(driver);
  const makeAll = () => {
    ok(...makeNetwork);
    ok('create', 'a', '--nic', `n1,name=net0,ip=${A4},ip=${A6},mac=02:00:00:00:00:99`);
    ok('create', 'b', '--nic', `n1,ip=${B4},ip=${B6}`);
  };
  const removeAll = () => {
    ok('rm', '-f', 'a', 'b');
    ok('network', 'rm', 'n1');
  };
  const sysctls = () => host.run(['sysctl', '-a', '-r', '^net', '-e']).stdout;
  const rows = () => driver.rows?.(host) ?? [];
  const inside = () => [
    host.run(['ip', '-n', 'a', '-br', 'addr', 'show', 'dev', 'net0', 'scope', 'global']).stdout,
    host.run(['ip', '-n', 'a', 'route']).stdout,
    host.run(['ip', '-n', 'a', '-6', 'route', 'show', 'default']).stdout,
  ];

  beforeAll(async () => {
    host = await Host.create();
    // What all of them share is there.
    ok('create', 'keep');
    driver.prepare(host);
  });
  afterAll(async () => {
    await driver.end?.(host);
    await host.destroy();
  });

  test('the network as inspect says, and interfaces as asked for', () => {
    makeAll();
    expect(JSON.parse(ok('network', 'inspect', 'n1'))).toEqual([
      expect.objectContaining({
        name: 'n1',
        state: 'up',
        containers: { a: { net0: [A4, A6] }, b: { eth0: [B4, B6] } },
      }),
    ]);
    const [net0] = readIp(host, '-n', 'a', 'addr', 'show', 'dev', 'net0');
    expect(net0).toMatchObject({ address: '02:00:00:00:00:99', mtu: driver.mtuBytes });
    const global = net0?.addr_info.filter(({ scope }) => scope === 'global');
    expect(global?.map(({ local, prefixlen }) => `${local}/${prefixlen}`)).toEqual([`${A4}/24`, `${A6}/64`]);
    expect(readIp(host, '-n', 'a', 'link').map(({ ifname }) => ifname)).toEqual(['lo', 'net0']);
    ok('network', 'connect', 'n1', 'a', '--mtu', '1300', '--name', 'net1');
    expect(readIp(host, '-n', 'a', 'link', 'show', 'dev', 'net1')[0]).toMatchObject({ mtu: 1300 });
    ok('network', 'disconnect', 'n1', 'a', '--name', 'net1');
    expect(readIp(host, '-n', 'a', 'link').map(({ ifname }) => ifname)).toEqual(['lo', 'net0']);
    expect(ok('ps', '-q')).toBe('a\nb\nkeep\n');
  });

  test('they reach each other, by both families, and a file is whole', () => {
    expect([B4, B6, 'b'].map((to) => pings('a', to))).toEqual([true, true, true]);
    expect([A4, A6].map((to) => pings('b', to))).toEqual([true, true]);
    ok('exec', 'b', 'sh', '-ec', 'mkdir /big; head -c 3000000 /dev/zero >/big/file; httpd -p 80 -h /big');
    for (const to of [B4, `[${B6}]`]) {
      const get = `timeout 30 wget -q -O - http://${to}/file | wc -c`;
      expect(ok('exec', 'a', 'sh', '-c', get)).toBe('3000000\n');
    }
  });

  test('stopped it is not there for the others; started it is as before', () => {
    const before = inside();
    expect(before[1]).toMatch(/^default via 10\.7\.0\./);
    ok('stop', '-t', '0', 'a');
    const flags = readIp(host, '-n', 'a', 'link', 'show', 'dev', 'net0')[0]?.flags;
    expect([flags?.includes('UP'), flags?.includes('NO-CARRIER')]).toEqual(
      driver.hasCarrierLoss ? [true, true] : [false, false],
    );
    expect(host.minict('exec', 'b', 'ping', '-c1', '-W1', A4).status).toBe(1);
    expect(ok('ps', '-a')).toMatch(/^a +stopped /m);
    ok('start', 'a');
    expect(inside()).toEqual(before);
    expect([pings('b', A4), pings('b', A6)]).toEqual([true, true]);
    expect(ok('ps')).not.toContain('broken');
  });

  test('flushed inside, addresses and routes come back by a start, and what was added by hand stays', () => {
    const before = inside();
    const linkLocal = () => host.run(['ip', '-n', 'a', '-6', 'addr', 'show', 'dev', 'net0', 'scope', 'link']).stdout;
    const hadLinkLocal = linkLocal().includes(' nodad ');
    ok('exec', '-d', 'a', 'tail', '-f', '/etc/hosts');
    for (const words of [
      'addr flush dev net0',
      'link set dev net0 down',
      'addr add 10.99.0.1/24 dev lo',
      'route add blackhole 10.98.0.0/16',
    ]) {
      expect(host.run(['ip', '-n', 'a', ...words.split(' ')]), words).toMatchObject({ status: 0 });
    }
    ok('start', 'a');
    expect(host.run(['ip', '-n', 'a', 'route', 'del', 'blackhole', '10.98.0.0/16']).status).toBe(0);
    expect(host.run(['ip', '-n', 'a', 'addr', 'del', '10.99.0.1/24', 'dev', 'lo']).status).toBe(0);
    expect(inside()).toEqual(before);
    expect(linkLocal().includes(' nodad ')).toBe(hadLinkLocal);
    expect([pings('b', A4), pings('b', A6)]).toEqual([true, true]);
    expect(ok('ps')).toMatch(/^a +running /m);
    ok('stop', '-t', '0', 'a');
    ok('start', 'a');
  });

  test.each(driver.breaks)('after somebody did `%s …` ps says broken, and start repairs', (...argv) => {
    expect(host.run(argv).status).toBe(0);
    expect(ok('ps')).toMatch(/^a +broken \(missing: /m);
    driver.mends?.(host);
    ok('start', 'a', 'b');
    expect(ok('ps')).not.toContain('broken');
    expect([pings('a', B4), pings('a', B6)]).toEqual([true, true]);
  });

  test.each(driver.breaks)('after `%s …` what network reload would do works as a script', (...argv) => {
    expect(host.run(argv).status).toBe(0);
    driver.mends?.(host);
    // ethtool says what it has changed.
    const script = printScript(host, 'network', 'reload', '--dry-run');
    expect(host.run(['sh'], {}, script)).toMatchObject({ status: 0, stderr: '' });
    expect(ok('network', 'ls')).not.toMatch(/broken|missing/);
    ok('start', 'a', 'b');
    expect(ok('ps')).not.toContain('broken');
    expect([pings('a', B4), pings('a', B6)]).toEqual([true, true]);
  });

  test('who was elsewhere is connected, and disconnected', () => {
    ok('network', 'connect', 'n1', 'keep');
    expect(pings('keep', A4)).toBe(true);
    ok('network', 'disconnect', 'n1', 'keep');
    removeAll();
  });

  test('removed, the host is as it was: links, addresses, routes, settings, rows', async () => {
    expect(await host.linksGone(/ [abc]-/)).toBe(true);
    const before = { host: host.snapshot(), sysctls: sysctls(), rows: rows() };
    makeAll();
    ok('network', 'connect', 'n1', 'b');
    ok('stop', '-t', '0', 'b');
    expect(sysctls()).not.toBe('');
    removeAll();
    expect(await host.settled(before.host)).toEqual(before.host);
    expect({ sysctls: sysctls(), rows: rows() }).toEqual({ sysctls: before.sysctls, rows: before.rows });
  });

  test('what create would do works as a script, and so does the way back', async () => {
    // ethtool says what it has changed.
    const run = (script: string) => expect(host.run(['sh'], {}, script)).toMatchObject({ status: 0, stderr: '' });
    expect(await host.linksGone(/ [abc]-/)).toBe(true);
    const before = { host: host.snapshot(), rows: rows() };
    const [network, back] = ['--dry-run', '--dry-run-undo'].map((option) => printScript(host, ...makeNetwork, option));
    run(network as string);
    run(back as string);
    expect(await host.settled(before.host)).toEqual(before.host);
    expect(rows()).toEqual(before.rows);
    makeAll();
    const make = ['create', 'c', '--nic', 'n1,ip=10.7.0.13,ip=fd00:7::13'];
    const [script, undo] = ['--dry-run', '--dry-run-undo'].map((option) => printScript(host, ...make, option));
    run(script as string);
    expect([pings('a', '10.7.0.13'), pings('a', 'fd00:7::13')]).toEqual([true, true]);
    const scripted = kernelView(host, 'c').inside;
    expect(host.run(['sh'], {}, undo as string)).toMatchObject({ status: 0 });
    await linksSettle(host);
    ok(...make);
    expect(kernelView(host, 'c').inside).toEqual(scripted);
    ok('rm', 'c');
    removeAll();
  });
});
