/** minict why: networks and interfaces of every kind: a fault of each, and the command that mends it. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { expectCreated } from '../helpers/expect.ts';
import { startOvsdb, startVswitchd, stopOvs } from '../helpers/ovs.ts';
import { type Fault, WhyLab } from '../helpers/why-lab.ts';

let lab: WhyLab;
beforeAll(async () => {
  lab = await WhyLab.create();
  const { host } = lab;
  lab.sh(`ip link add name up0 type veth peer name up0-far; ip link set up0 up; ip link set up0-far up
    ip link add name card type veth peer name card-far; ip link set card-far up; ip addr add 10.33.0.1/24 dev card-far
    ip link add name und type veth peer name und-far; ip link set und up; ip link set und-far up
    ip addr add 10.99.0.1/24 dev und`);
  startOvsdb(host);
  startVswitchd(host);
  lab.sh(`minict network create mac0 --driver macvlan --uplink up0 --subnet 10.30.0.0/24 --gateway 10.30.0.254
    minict network create vx0 --driver vxlan --vni 42 --local 10.99.0.1 --remote 10.99.0.2 --subnet 10.31.0.0/24
    minict network create sw0 --driver ovs -o datapath_type=netdev --subnet 10.34.0.0/24`);
  for (const [name, nic] of [
    ['m1', 'mac0,ip=10.30.0.1'],
    ['m2', 'mac0,ip=10.30.0.2'],
    ['v1', 'vx0,ip=10.31.0.1'],
    ['v2', 'vx0,ip=10.31.0.2'],
    ['p1', 'p2p:p2,name=eth2,ip=10.32.0.1/30'],
    ['p2', 'p2p:p1,name=eth2,ip=10.32.0.2/30'],
    ['n1', 'phys:card,name=eth1,ip=10.33.0.2/24'],
    ['o1', 'sw0,ip=10.34.0.11'],
    ['o2', 'sw0,ip=10.34.0.12'],
  ] as const) {
    expectCreated(host, name, '--nic', nic);
  }
});
afterAll(async () => {
  for (const name of ['o1', 'o2']) lab.host.minict('rm', '-f', name);
  lab.host.minict('network', 'rm', 'sw0');
  await stopOvs(lab.host);
  await lab.host.destroy();
});
afterEach(() => lab.sh('for name in m1 m2 v1 v2 p1 p2 n1 o1 o2; do ip -n $name neigh flush all; done'));

const down = (name: string, dev: string) => `ip -n ${name} link set dev ${dev} down`;

const FAULTS: readonly Fault[] = [
  ['macvlan: the uplink', 'ip link set dev up0 down', 'm1 m2', 'nic-down', 'm1 eth0', /its uplink up0 is down/],
  ["macvlan: the uplink's cable", 'ip link set dev up0-far down', 'm1 m2', 'nic-down', 'm1 eth0', /up0-far, is down/],
  ['macvlan: the interface', 'ip -n m2 link del dev eth0', 'm1 m2', 'nic-down', 'm2 eth0', /no interface eth0/],
  ['vxlan: the NIC', down('v1', 'eth0'), 'v1 v2', 'nic-down', 'v1 eth0', /^down$/],
  ['vxlan: the bridge', 'ip link del dev vx0', 'v1 v2', 'bridge-port', 'v1-eth0', /vx0 is not there/],
  ['p2p: the NIC', down('p1', 'eth2'), 'p1 p2', 'nic-down', 'p1 eth2', /^down$/],
  ['p2p: link down', 'minict link down p2:eth2', 'p1 p2', 'nic-down', 'p2 eth2', /by link down/],
  ['p2p: who is stopped', 'minict stop -t 0 p2', 'p1 p2', 'stopped', 'p2', /stopped/],
  ['phys: the NIC', down('n1', 'eth1'), 'n1 10.33.0.1', 'nic-down', 'n1 eth1', /^down$/],
  ['phys: its cable', 'ip link set dev card-far down', 'n1 10.33.0.1', 'nic-down', 'n1 eth1', /card-far is down/],
  ['phys: who is stopped', 'minict stop -t 0 n1', 'host n1', 'stopped', 'n1', /stopped/],
  ['ovs: the host end', 'ip link set dev o2-eth0 down', 'o1 o2', 'nic-down', 'o2 eth0', /o2-eth0 is down/],
  ['ovs: the port', 'ovs-vsctl del-port sw0 o2-eth0', 'o1 o2', 'bridge-port', 'o2-eth0', /no port of sw0/],
  ['ovs: the address of the bridge', 'ip addr flush dev sw0', 'o1 host', 'no-address', 'host sw0', /10.34.0.1/],
];

test.each(FAULTS)('%s', (...fault) => lab.expectMended(fault));

test.each([
  ['is down', 'ip link set dev vx0-vx down', 'ip link set dev vx0-vx up', 'down'],
  ['is in no bridge', 'ip link set dev vx0-vx nomaster', 'ip link set dev vx0-vx master vx0', 'no port of vx0'],
  ['is gone', 'ip link del dev vx0-vx', 'minict network reload', 'is not there'],
])('vxlan: the tunnel %s', (_, inject, fix, found) => {
  lab.sh(inject);
  expect(lab.failureOf('v1 10.31.0.77')).toMatchObject({ cause: 'bridge-port', where: 'vx0-vx', found, fix });
  lab.sh(fix);
  // Nobody has that address.
  expect(lab.failureOf('v1 10.31.0.77')).toMatchObject({ cause: 'arp' });
});

test('p2p: an end that was deleted takes the other one along: one after the other is named', () => {
  lab.sh('ip -n p2 link del dev eth2');
  for (const name of ['p1', 'p2']) {
    const told = lab.why('p1 p2');
    expect(told).toMatchObject({ cause: 'nic-down', where: `${name} eth2`, fix: `minict start ${name}` });
    lab.sh(told.fix as string);
  }
  lab.expectWorks('p1 p2');
});

test('p2p: to an address of nobody, what the cable hangs on is named', () => {
  lab.sh('minict stop -t 0 p2');
  const told = lab.why('p1 10.32.0.3');
  expect(told).toMatchObject({ cause: 'nic-down', where: 'p1 eth2', fix: 'minict start p2' });
  lab.sh(told.fix as string);
  lab.expectWorks('p1 p2');
});

test('ovs: its daemons do not run', async () => {
  await stopOvs(lab.host);
  expect(lab.failureOf('o1 o2')).toMatchObject({
    cause: 'bridge-port',
    where: 'o1-eth0',
    found: 'Open vSwitch does not answer',
  });
  startOvsdb(lab.host);
  startVswitchd(lab.host);
});
