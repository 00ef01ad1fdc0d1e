/** What a container is told of names beside its networks: name servers, search domains, hosts of its own. Pure. */
import { InvalidInputError } from '../errors.ts';
import { formatIp, parseIp } from './address.ts';
import { type ContainerSpec, HOST_GATEWAY } from './container.ts';

type Dns = NonNullable<ContainerSpec['dns']>;
type ExtraHost = NonNullable<ContainerSpec['extraHosts']>[number];

/** MAXNS of resolv.h: resolvers ask no more. */
const MOST_SERVERS = 3;

/** Labels as hosts(5) and resolvers take them, and `_` as in service names; what is not in it ends no line. */
const DOMAIN =
  /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$/;

/** In its short form; an IPv6 one may have a zone, as link-local servers need it. Throws InvalidInputError. */
export function parseNameServer(text: string): string {
  const [plain = '', ...zone] = text.split('%');
  const isZone =
    zone.length === 0 || (zone.length === 1 && plain.includes(':') && /^[A-Za-z0-9_.-]+$/.test(zone[0] ?? ''));
  if (!isZone) throw new InvalidInputError(`cannot use --dns ${JSON.stringify(text)}: not an IP address`);
  return [formatIp(parseIp(plain)), ...zone].join('%');
}

/** Throws InvalidInputError. */
export function parseSearchDomain(text: string): string {
  if (text === '.' || DOMAIN.test(text)) return text;
  throw new InvalidInputError(`cannot use --dns-search ${JSON.stringify(text)}: not a domain`, {
    hint: "lab.example; '.' is none at all",
  });
}

/** Throws InvalidInputError. */
export function parseResolverOption(text: string): string {
  if (/^[a-z0-9-]+(:\d+)?$/.test(text)) return text;
  throw new InvalidInputError(`cannot use --dns-option ${JSON.stringify(text)}: not an option of resolv.conf(5)`, {
    hint: 'ndots:2, timeout:1, rotate, …',
  });
}

/** Throws InvalidInputError where resolvers would pass over some of it. */
export function checkDns(dns: Dns): Dns {
  const { servers = [], search = [] } = dns;
  if (servers.length > MOST_SERVERS) {
    throw new InvalidInputError(
      `cannot use --dns ${servers[MOST_SERVERS]}: resolvers ask the first ${MOST_SERVERS} alone`,
    );
  }
  if (search.length > 1 && search.includes('.')) {
    throw new InvalidInputError("cannot use --dns-search '.' beside others: it is none at all");
  }
  return dns;
}

/** `NAME:ADDRESS` or `NAME=ADDRESS`, as docker has them, of both families. Throws InvalidInputError. */
export function parseExtraHost(text: string): ExtraHost {
  const [, name = '', rest = ''] = /^([^:=]*)[:=](.*)$/s.exec(text) ?? [];
  if (rest === '') {
    throw new InvalidInputError(`cannot use --add-host ${JSON.stringify(text)}: not NAME:ADDRESS`, {
      hint: '--add-host db.example:10.0.0.5',
    });
  }
  const [, inBrackets] = /^\[(.*:.*)\]$/.exec(rest) ?? [];
  return checkExtraHost({ name, address: inBrackets ?? rest });
}

/** With its address in the short form. Throws InvalidInputError. */
export function checkExtraHost({ name, address }: ExtraHost): ExtraHost {
  if (!DOMAIN.test(name)) {
    throw new InvalidInputError(`cannot use --add-host: ${JSON.stringify(name)} is not a host name`, {
      hint: '--add-host db.example:10.0.0.5',
    });
  }
  return { name, address: address === HOST_GATEWAY ? address : formatIp(parseIp(address)) };
}
