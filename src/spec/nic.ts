/** What is asked for of an interface: `--nic lan,ip=192.168.0.5,name=eth0`. Pure. */
import { InvalidInputError } from '../errors.ts';
import { parseAddress, parseIp, parseMtuBytes } from './address.ts';
import { parseMac, parseNetworkName, parseNicName } from './name.ts';

export interface NicRequest {
  readonly network: string;
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

const KEYS = 'ip, gateway, name, mac, mtu';

/** `NETWORK[,KEY=VALUE…]`; `ip` and `gateway` may be there for each family, `ip=none` is without. Throws InvalidInputError. */
export function parseNic(text: string): NicRequest {
  const [network = '', ...settings] = text.split(',');
  const values = new Map<string, string[]>();
  for (const setting of settings) {
    const [, key, value] = /^(ip|gateway|name|mac|mtu)=(.+)$/.exec(setting) ?? [];
    if (key === undefined || value === undefined) {
      throw new InvalidInputError(`cannot use --nic ${JSON.stringify(text)}: '${setting}' is no setting of it`, {
        hint: `NETWORK[,KEY=VALUE…] with ${KEYS}`,
      });
    }
    values.set(key, [...(values.get(key) ?? []), value]);
  }
  const once = (key: string) => {
    const [value, ...more] = values.get(key) ?? [];
    if (more.length > 0) throw new InvalidInputError(`cannot use --nic ${JSON.stringify(text)}: ${key} twice`);
    return value;
  };
  const [name, mac, mtu] = [once('name'), once('mac'), once('mtu')];
  const ips = values.get('ip') ?? [];
  return checkNic({
    network: parseNetworkName(network),
    name: name === undefined ? undefined : parseNicName(name),
    ips: ips.filter((ip) => ip !== 'none'),
    noAddress: ips.includes('none'),
    gateways: values.get('gateway') ?? [],
    mac: mac === undefined ? undefined : parseMac(mac),
    mtuBytes: mtu === undefined ? undefined : parseMtuBytes(mtu),
  });
}

/** Throws InvalidInputError for an address that is none, or a second one of its family. */
export function checkNic(request: NicRequest): NicRequest {
  const families = (texts: readonly string[], familyOf: (text: string) => number) => {
    const seen = texts.map(familyOf);
    const second = texts[seen.findIndex((family, index) => seen.indexOf(family) !== index)];
    if (second === undefined) return;
    throw new InvalidInputError(`cannot use ${second}: a second address of its family for one interface`);
  };
  families(request.ips, (text) => parseAddress(text).address.family);
  families(request.gateways, (text) => parseIp(text).family);
  return request;
}
