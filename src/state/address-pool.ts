/** Which addresses of a network are free. Held under the networks' lock. */
import { AddressTakenError } from '../errors.ts';
import { type Address, formatIp, lastOf, parseSubnet } from '../spec/address.ts';
import { isHeld, type NetworkRecord, type NetworkSubnet, plainAddress } from './network.ts';
import type { Roots } from './paths.ts';

/**
 * The addresses of a network for one of its containers. `own` are those that its other interfaces have, by these. What it
 * gives is its own from then on.
 */
export class AddressPool {
  private readonly roots: Roots;
  private readonly record: NetworkRecord;
  private readonly name: string;
  private readonly own: Map<string, string>;
  /** Members that have an address. */
  private readonly held: ReadonlyMap<string, string>;
  /** By subnet, what is below is not free. */
  private readonly lowest = new Map<string, bigint>();

  constructor(roots: Roots, record: NetworkRecord, name: string, own: ReadonlyMap<string, string>) {
    this.roots = roots;
    this.record = record;
    this.name = name;
    this.own = new Map([...own, ...tapAddresses(record)]);
    this.held = new Map(
      Object.entries(record.members).flatMap(([member, { nics }]) =>
        Object.values(nics).flatMap((addresses) => addresses.map((address) => [address, member] as const)),
      ),
    );
  }

  private holderOf(address: string): string | undefined {
    const holder = this.held.get(address);
    return holder !== undefined && holder !== this.name && isHeld(this.roots, holder) ? holder : undefined;
  }

  /** For interface `nic`. Throws AddressTakenError with the holder. */
  take(address: Address, nic: string): string {
    const text = formatIp(address);
    const { record } = this;
    const isGateway = record.subnets.some(({ gateway }) => gateway === text);
    const bridge = record.foreign || record.internal ? 'the gateway' : `the bridge ${record.link}`;
    const holder = this.holderOf(text);
    const taken = (isGateway ? bridge : undefined) ?? (holder && `container ${holder}`) ?? this.own.get(text);
    if (taken !== undefined) {
      throw new AddressTakenError(record.name, `cannot use address ${text}: taken by ${taken}`, {
        hint: `minict network inspect ${record.name}; without the option minict chooses`,
      });
    }
    this.own.set(text, `${this.name}'s ${nic}`);
    return text;
  }

  /** The first address, where a router of the user's may be yet to come: what has no gateway though the host could be it. */
  private routersOwn({ subnet, gateway }: NetworkSubnet): string | undefined {
    const { internal, foreign, driver } = this.record;
    if (gateway !== undefined || internal || foreign || !['bridge', 'ovs'].includes(driver)) return undefined;
    const { family, base } = parseSubnet(subnet);
    return formatIp({ family, value: base + 1n });
  }

  /** The lowest that is free, and not in `avoid`; a router's own is the last. Throws AddressTakenError. */
  next({ subnet: text, gateway }: NetworkSubnet, nic: string, avoid: readonly string[]): string {
    const subnet = parseSubnet(text);
    const spared = [gateway, this.routersOwn({ subnet: text, gateway }), ...avoid];
    const last = lastOf(subnet).value;
    const find = (isFree: (address: string) => boolean) => {
      const from = this.lowest.get(text) ?? subnet.base + 1n;
      for (let value = from; value < last; value += 1n) {
        const address = formatIp({ family: subnet.family, value });
        if (spared.includes(address) || this.own.has(address) || !isFree(address)) continue;
        this.lowest.set(text, value);
        return address;
      }
      return undefined;
    };
    // Whether a member is still there takes a look at the disk: only where no address is without one.
    const free =
      find((address) => !this.held.has(address)) ??
      find((address) => this.holderOf(address) === undefined) ??
      this.leftOver({ subnet: text, gateway }, avoid);
    if (free === undefined) {
      const { name } = this.record;
      throw new AddressTakenError(name, `cannot find a free address: network ${name}, ${text}, is full`, {
        hint: `minict network inspect ${name}`,
      });
    }
    this.own.set(free, `${this.name}'s ${nic}`);
    return free;
  }

  /** A router's own address, where no other one is free. */
  private leftOver(subnet: NetworkSubnet, avoid: readonly string[]): string | undefined {
    const address = this.routersOwn(subnet);
    if (address === undefined || avoid.includes(address)) return undefined;
    return this.own.has(address) || this.holderOf(address) !== undefined ? undefined : address;
  }
}

/** Which tap has which address. */
function tapAddresses({ taps = {} }: NetworkRecord): [string, string][] {
  return Object.entries(taps).flatMap(([name, { addresses }]) =>
    addresses.map((address): [string, string] => [plainAddress(address), `tap ${name}`]),
  );
}
