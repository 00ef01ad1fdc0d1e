import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Host, MINICT } from '../helpers/host.ts';

describe.each(['private', 'shared'] as const)('on a host whose / is %s', (propagation) => {
  let host: Host;
  beforeAll(async () => {
    host = await Host.create(propagation);
    host.minict('create', 'first');
    host.minict('rm', 'first');
    await host.linksGone(/first/);
  });
  afterAll(() => host.destroy());

  test.each(['private', 'host'])('create, exec, rm with --mounts %s leaves the host as it was', async (mounts) => {
    const before = host.snapshot();
    const created = host.minict('create', 'web1', '--ip', '192.168.0.11', '--mounts', mounts);
    expect(created).toEqual({ status: 0, stdout: 'web1\n', stderr: '' });
    const address = JSON.parse(host.run(['ip', '-n', 'web1', '-j', '-4', 'addr', 'show', 'eth0']).stdout);
    expect(address[0].addr_info[0]).toMatchObject({ local: '192.168.0.11', prefixlen: 24 });
    const link = JSON.parse(host.run(['ip', '-j', 'link', 'show', 'web1-eth0']).stdout);
    expect(link[0]).toMatchObject({ master: 'minict0', operstate: 'UP' });
    const inside = host.minict(
      'exec',
      'web1',
      'sh',
      '-c',
      'hostname; cat /etc/hostname; grep -c . /proc/mounts; ls /sys/class /dev/null',
    );
    expect(inside.stdout).toMatch(/^web1\nweb1\n\d+\n/);
    expect(inside.status).toBe(0);
    expect(host.minict('rm', 'web1').stdout).toBe('web1\n');
    expect(await host.linksGone(/web1-eth0/)).toBe(true);
    expect(host.snapshot()).toEqual(before);
    expect(host.run(['ls', '/sys/kernel', '/dev/null']).status).toBe(0);
  });

  test('the first lines of the README do what they say', () => {
    const [lines = ''] = /(^ {4}\S.*\n)+/m.exec(readFileSync('README.md', 'utf8')) ?? [];
    expect(lines).toMatch(/minict create web1 .*\n.*minict exec web1 .*\n.*curl/);
    const asRoot = lines.replaceAll('sudo ', '').replaceAll('curl', 'curl -sS --retry 5 --retry-connrefused');
    const result = host.run(['sh', '-e'], { PATH: `${dirname(MINICT)}:${process.env.PATH}` }, asRoot);
    expect(result).toEqual({ status: 0, stdout: 'web1\nminict\n', stderr: '' });
    expect(host.minict('rm', '-f', 'web1').status).toBe(0);
  });

  test('rm -f of what is not there is no error, and removes the rest', () => {
    host.minict('create', 'here', '--no-network');
    expect(host.minict('rm', '-f', 'gone', 'here')).toEqual({ status: 0, stdout: 'here\n', stderr: '' });
    expect(host.minict('rm', '-f', 'gone')).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(host.minict('rm', 'gone').status).toBe(125);
    expect(host.minict('rm', '-f', 'gone', '--dry-run')).toMatchObject({ status: 0, stderr: '' });
  });

  test('containers reach each other by name, and the host reaches them', () => {
    host.minict('create', 'a1');
    host.minict('create', 'a2');
    expect(host.minict('exec', 'a1', 'ping', '-c1', '-W2', 'a2').status).toBe(0);
    host.minict('exec', '-d', 'a2', 'httpd', '-f', '-h', '/var/www');
    const address = JSON.parse(host.minict('inspect', 'a2').stdout)[0].address as string;
    const fetched = host.minict(
      'exec',
      'a1',
      'sh',
      '-c',
      `for i in 1 2 3 4 5 6 7 8 9; do wget -qO- http://a2/ && exit; sleep 0.1; done`,
    );
    expect(fetched.stdout).toBe('minict\n');
    expect(host.run(['curl', '-sS', `http://${address}/`]).stdout).toBe('minict\n');
    expect(host.minict('rm', 'a2')).toMatchObject({ status: 125, stdout: '' });
    expect(host.minict('rm', '-f', 'a1', 'a2').stdout).toBe('a1\na2\n');
  });
});
