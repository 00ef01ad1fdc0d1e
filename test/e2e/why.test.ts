/** minict why: what it says of paths that work, of what no command can mend, and of questions that cannot be asked. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { nftIn, WhyLab } from '../helpers/why-lab.ts';

let lab: WhyLab;
beforeAll(async () => {
  lab = await WhyLab.create();
  expectCreated(lab.host, 'lone', '--no-network');
});
afterAll(() => lab.host.destroy());
afterEach(() => lab.restore());

describe('a path that works', () => {
  test.each([
    ['web1 web3 tcp/80', '10.1.0.2', '10.1.0.130'],
    ['web1 web2 tcp/80', '10.1.0.2', '10.2.0.2'],
    ['web1 web2', '10.1.0.2', '10.2.0.2'],
    ['web1 web2 tcp/80 -6', 'fd00:1::2', 'fd00:2::2'],
    ['web1 fd00:1::130 icmp', 'fd00:1::2', 'fd00:1::130'],
    ['host web3 tcp/80', '10.1.0.1', '10.1.0.130'],
    ['web1 host', '10.1.0.2', '10.1.0.1'],
    ['web3 web3 tcp/80', '10.1.0.130', '10.1.0.130'],
  ])('%s', (question, from, to) => {
    expect(lab.expectWorks(question)).toMatchObject({ from, to });
  });

  test('is told hop by hop, there and back', () => {
    const { stdout, status } = lab.host.minict('why', 'web1', 'web2', 'tcp/80');
    expect(status).toBe(0);
    const [first, ...lines] = stdout.trimEnd().split('\n');
    expect(first).toBe('web1 → web2 tcp/80 (10.1.0.2 → 10.2.0.2)');
    expect(lines.every((line) => line.startsWith('ok '))).toBe(true);
    const order = [/web1 +container +up/, /web1 eth0 +route .* via 10.1.0.254/, /web1-eth0 +bridge port .* lana/];
    order.push(/r1 eth0 +NIC/, /r1 +forwarding/, /r1 eth1 +route/, /web2-eth0 +bridge port .* lanb/, /web2 +listening/);
    order.push(
      /web2 eth0 +way back +10.1.0.2 via 10.2.0.254/,
      /r1 eth0 +way back/,
      /probe .* answers/,
      /MTU .* 1500 .* pass/,
    );
    const at = order.map((pattern) => lines.findIndex((line) => pattern.test(line)));
    expect(at).not.toContain(-1);
    expect(at).toEqual(at.toSorted((a, b) => a - b));
  });
});

describe('what no command can mend', () => {
  test('a service on another address refuses', async () => {
    expect(lab.host.minict('exec', '-d', 'web3', 'httpd', '-p', '127.0.0.1:81', '-h', '/var/www').status).toBe(0);
    await lab.listens('web3', 81);
    expect(lab.failureOf('web1 web3 tcp/81')).toMatchObject({
      cause: 'refused',
      where: 'web3',
      found: 'tcp/81 is served at 127.0.0.1 alone, not at 10.1.0.130',
    });
  });

  test("who is none of minict's refuses, or is not there", () => {
    lab.sh(`ip netns add far; ip link add far0 type veth peer name eth0 netns far; ip link set far0 master lana up
      ip -n far link set lo up; ip -n far addr add 10.1.0.200/24 dev eth0; ip -n far link set eth0 up`);
    lab.expectWorks('web1 10.1.0.200');
    expect(lab.failureOf('web1 10.1.0.200 tcp/80')).toMatchObject({
      cause: 'refused',
      found: '10.1.0.200 refuses tcp/80',
    });
    lab.sh('ip netns del far');
    expect(lab.failureOf('web1 10.1.0.77 tcp/80')).toMatchObject({
      cause: 'arp',
      found: 'nobody answers for 10.1.0.77',
      fix: 'start who has 10.1.0.77',
      look: 'ip netns exec web1 timeout 10 tcpdump -c 5 -ni eth0 arp',
    });
  });

  test('a rule of routing prohibits it', () => {
    lab.sh('ip -n r1 rule add from 10.1.0.2 pref 9 prohibit');
    expect(lab.failureOf('web1 web2 80/tcp')).toMatchObject({
      cause: 'no-route',
      where: 'r1',
      found: 'a rule, or a route of another table, prohibits 10.2.0.2',
      look: 'ip -n r1 rule show',
    });
    lab.sh('ip -n r1 rule del pref 9');
  });

  test('one that is paused has a kernel that answers, and no program', () => {
    lab.sh('minict pause web3');
    const told = lab.expectWorks('web1 web3 tcp/80');
    expect(told.checks).toContainEqual(
      expect.objectContaining({ where: 'web3', check: 'container', found: expect.stringMatching(/^up, and paused: /) }),
    );
    lab.sh('minict unpause web3');
  });

  test('a service that does not listen, and nothing to start it by', () => {
    expect(lab.failureOf('web2 web1 tcp/9')).toMatchObject({ cause: 'not-listening', where: 'web1' });
    expect(lab.failureOf('web1 web3 udp/53')).toMatchObject({ cause: 'not-listening', where: 'web3' });
  });

  test('UDP: silence of who listens is no fault', async () => {
    const silent = "import socket, time; s = socket.socket(2, 2); s.bind(('0.0.0.0', 53)); time.sleep(600)";
    const server = lab.host.spawn(['ip', 'netns', 'exec', 'web3', 'python3', '-c', silent]);
    await lab.listens('web3', 53);
    expect(lab.expectWorks('web1 web3 udp/53').checks.at(-1)?.found).toMatch(/nobody refuses udp\/53/);
    lab.sh(nftIn('web3', 'ip', 'input', 'udp dport 53 counter drop'));
    expect(lab.failureOf('web1 web3 udp/53')).toMatchObject({ cause: 'nft-rule', where: 'web3' });
    server.kill();
    await server.exited;
  });
});

test('a command that only looks is told apart from one that mends, and ends by itself', () => {
  lab.sh('ip netns exec web3 tc qdisc add dev eth0 clsact');
  lab.sh('ip netns exec web3 tc filter add dev eth0 ingress protocol ip bpf bytecode "1,6 0 0 2" direct-action');
  const told = lab.failureOf('web1 web3 tcp/80');
  expect(told).toMatchObject({ cause: 'no-answer', look: expect.stringMatching(/ timeout 10 tcpdump -c 5 -ni eth0 /) });
  expect(told).not.toHaveProperty('fix');
  const { stdout } = lab.host.minict('why', 'web1', 'web3', 'tcp/80');
  expect(stdout).toMatch(/\n {6}cause: no-answer\n {6}look: ip netns exec web3 timeout 10 tcpdump /);
  lab.sh('ip netns exec web3 tc qdisc del dev eth0 clsact');
});

describe('questions that cannot be asked', () => {
  test.each([
    ['nobody web1', /cannot find container nobody: no such container\nhint: minict ps -a/],
    ['web1 nobody tcp/80', /cannot find container nobody/],
    ['web1 300.1.1.1', /not an IPv4 address/],
    ['web1 web3 tcp/0', /cannot use "tcp\/0" as a service/],
    ['web1 web3 tcp', /PROTO\/PORT/],
    ['web1 web3 sctp/80', /hint: for example tcp\/80/],
    ['web1 web3 tcp/80 --format xml', /cannot use --format xml/],
    ['web1 10.1.0.130 -6', /of the other family/],
    ['web1 web3 -4 -6', /-4 and -6/],
    ['both web3 -6 extra more', /too many|excess|argument/],
    ['web1', /missing|argument|target/],
    ['web1 lone', /cannot find an address of lone: it has none\nhint: minict network connect/],
  ])('%s', (words, message) => {
    expectRefused(lab.host.minict('why', ...words.split(' ')), message);
  });

  test('it leaves nothing behind but what packets leave', () => {
    const before = lab.host.snapshot();
    lab.expectWorks('web1 web2 tcp/80');
    expect(lab.host.snapshot()).toEqual(before);
  });
});
