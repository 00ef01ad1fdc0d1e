/** A virtual machine and a container in one network, by a tap. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated } from '../helpers/expect.ts';
import { runGuest } from '../helpers/guest.ts';
import { Host } from '../helpers/host.ts';
import { startOvsdb, startVswitchd, stopOvs } from '../helpers/ovs.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  startOvsdb(host);
  startVswitchd(host);
});
afterAll(async () => {
  await stopOvs(host);
  await host.destroy();
});

test.each([
  ['a Linux bridge', []],
  ['Open vSwitch', ['--driver', 'ovs', '-o', 'datapath_type=netdev']],
])(
  'with the address and the words that minict prints, it reaches a container and is reached, by %s',
  async (_, driver) => {
    expect(host.minict('network', 'create', 'lan', '--subnet', '10.1.0.0/24', ...driver).status).toBe(0);
    expectCreated(host, 'c1', '--nic', 'lan,ip=10.1.0.9');
    const { stdout } = host.minict('network', 'tap', 'lan', 'vm0');
    const said = (key: string) => new RegExp(`^${key} (.*)$`, 'm').exec(stdout)?.[1] as string;
    const listener = host.spawn(['ip', 'netns', 'exec', 'c1', 'busybox', 'nc', '-l', '-p', '7000']);
    const console = await runGuest(
      host,
      said('qemu').split(' '),
      `ip link set eth0 up; ip addr add ${said('address')} dev eth0
cat /sys/class/net/eth0/address
ping -c 3 -W 5 10.1.0.9 && echo hello from the guest | nc -w 5 10.1.0.9 7000
ip route add default via ${said('gateway')} && ping -c 1 -W 5 ${said('gateway')} && echo all done`,
    );
    expect(console).toContain(said('mac'));
    expect(console).toContain('all done');
    expect(await new Response(listener.stdout as ReadableStream).text()).toBe('hello from the guest\n');
    // The tap outlasts the machine.
    expect(host.minict('network', 'tap', 'rm', 'vm0')).toMatchObject({ status: 0, stdout: 'vm0\n' });
    expect(host.minict('rm', 'c1').status).toBe(0);
    expect(host.minict('network', 'rm', 'lan').status).toBe(0);
  },
);
