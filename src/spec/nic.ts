/** What is asked for of an interface: `--nic lan,ip=192.168.0.5,name=eth0`. Pure. */
import { InvalidInputError } from '../errors.ts';
import { parseAddress, parseInterfaceAddress, parseIp, parseMtuBytes } from './address.ts';
import {
  parseContainerName,
  parseHostInterface,
  parseMac,
  parseNetworkName,
  parseNewContainerName,
  parseNicName,
} from './name.ts';

interface NicSettings {
  /** The next free `ethN` where it is undefined. */
  readonly name?: string | undefined;
  /** With or without their lengths, one of a family at most; a family that is not here gets the next free one. */
  readonly ips: readonly string[];
  /** It gets none but `ips`. */
  readonly noAddress?: boolean;
  /** Next hops of default routes, in place of the network's own. */
  readonly gateways: readonly string[];
  readonly mac?: string | undefined;
  readonly mtuBytes?: number | undefined;
}

/** An interface in a network. */
export interface NetworkNicRequest extends NicSettings {
  readonly kind?: undefined;
  readonly network: string;
}

/** One end of a cable to another container. */
export interface CableRequest extends NicSettings {
  readonly kind: 'p2p';
  readonly peer: string;
  /** Which one, where the other end is there; else the first that has none here. */
  readonly cable?: string;
  /** None that waits: both ends come at once. */
  readonly isNew?: true;
}

/** An interface of the host's. */
export interface CardRequest extends NicSettings {
  readonly kind: 'phys';
  readonly device: string;
}

export type NicRequest = NetworkNicRequest | CableRequest | CardRequest;

const KEYS = 'ip, gateway, name, mac, mtu';

/** `lan`, `p2p:CONTAINER`, `phys:INTERFACE`. */
function parseTarget(text: string) {
  const [, kind, rest] = /^(p2p|phys):(.*)$/s.exec(text) ?? [];
  if (kind === 'p2p') return { kind, peer: parseNewContainerName(rest as string) } as const;
  if (kind === 'phys') return { kind, device: parseHostInterface(rest as string) } as const;
  return { network: parseNetworkName(text) };
}

/** `NETWORK[,KEY=VALUE…]`, `p2p:CONTAINER[,…]`, `phys:INTERFACE[,…]`; `ip` and `gateway` may be there for each family, `ip=none` is without. Throws InvalidInputError. */
export function parseNic(text: string): NicRequest {
  const [target = '', ...settings] = text.split(',');
  return checkNic({ ...parseTarget(target), ...parseSettings(text, settings) });
}

/** A user of the host's, by name or number. Throws InvalidInputError. */
export function parseUser(text: string): string {
  if (/^([a-z_][a-z0-9_-]{0,31}|\d{1,10})$/.test(text)) return text;
  throw new InvalidInputError(`cannot use user ${JSON.stringify(text)}: not the name or number of one`, {
    hint: 'getent passwd',
  });
}

/** An end of a cable, `CONTAINER:INTERFACE[,KEY=VALUE…]`. Throws InvalidInputError. */
export function parseCableEnd(text: string): { container: string; nic: string; settings: NicSettings } {
  const [end = '', ...settings] = text.split(',');
  const { container, nic } = parseEnd(end);
  return { container, nic, settings: { ...parseSettings(text, settings), name: nic } };
}

/** `CONTAINER:INTERFACE`. Throws InvalidInputError. */
export function parseEnd(text: string): { container: string; nic: string } {
  const at = text.indexOf(':');
  if (at > 0) return { container: parseContainerName(text.slice(0, at)), nic: parseNicName(text.slice(at + 1)) };
  throw new InvalidInputError(`cannot use ${JSON.stringify(text)}: not CONTAINER:INTERFACE`, {
    hint: 'for example r1:eth3',
  });
}

/** `none` is without an address, but for those that are said beside it. */
export function ipSettings(ips: readonly string[]): Pick<NicSettings, 'ips' | 'noAddress'> {
  return { ips: ips.filter((ip) => ip !== 'none'), noAddress: ips.includes('none') };
}

function parseSettings(text: string, settings: readonly string[]): NicSettings {
  const values = new Map<string, string[]>();
  for (const setting of settings) {
    const [, key, value] = /^(ip|gateway|name|mac|mtu)=(.+)$/.exec(setting) ?? [];
    if (key === undefined || value === undefined) {
      throw new InvalidInputError(`cannot use interface ${JSON.stringify(text)}: '${setting}' is no setting of it`, {
        hint: `NETWORK[,KEY=VALUE…] with ${KEYS}`,
      });
    }
    values.set(key, [...(values.get(key) ?? []), value]);
  }
  const once = (key: string) => {
    const [value, ...more] = values.get(key) ?? [];
    if (more.length > 0) {
      throw new InvalidInputError(`cannot use interface ${JSON.stringify(text)}: ${key} twice`, {
        hint: 'only ip and gateway can be there for each family',
      });
    }
    return value;
  };
  const [name, mac, mtu] = [once('name'), once('mac'), once('mtu')];
  return {
    name: name === undefined ? undefined : parseNicName(name),
    ...ipSettings(values.get('ip') ?? []),
    gateways: values.get('gateway') ?? [],
    mac: mac === undefined ? undefined : parseMac(mac),
    mtuBytes: mtu === undefined ? undefined : parseMtuBytes(mtu),
  };
}

/** Throws InvalidInputError for an address that is none, or a second one of its family. */
export function checkNic(request: NicRequest): NicRequest {
  const families = (texts: readonly string[], familyOf: (text: string) => number) => {
    const seen = texts.map(familyOf);
    const second = texts[seen.findIndex((family, index) => seen.indexOf(family) !== index)];
    if (second === undefined) return;
    throw new InvalidInputError(`cannot use ${second}: a second address of its family for one interface`, {
      hint: 'one IPv4 and one IPv6 address; more of them by ip -n CONTAINER addr add',
    });
  };
  // Outside of a network it has to say how far it reaches.
  const parse = request.kind === undefined ? parseAddress : parseInterfaceAddress;
  families(request.ips, (text) => parse(text).address.family);
  families(request.gateways, (text) => parseIp(text).family);
  return request;
}
