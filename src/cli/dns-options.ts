/** Options of create and run that say what a container knows of names, beside those of its networks' members. */
import { InvalidInputError } from '../errors.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { VerbCommand } from './verb-command.ts';

/** As commander hands them over. */
export interface DnsOptions {
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOption: readonly string[];
  readonly addHost: readonly string[];
}

export function addDnsOptions(command: VerbCommand): VerbCommand {
  return command
    .repeatable('--dns <address>', "a name server, in place of the host's")
    .repeatable('--dns-search <domain>', "a search domain, in place of the host's; '.': none")
    .repeatable('--dns-option <option>', "an option of resolv.conf(5), in place of the host's: ndots:2")
    .repeatable('--add-host <name:address>', 'a line of its /etc/hosts; host-gateway is the host');
}

/** What reads them is loaded where there are any. Throws InvalidInputError. */
export async function dnsFrom(
  options: DnsOptions,
  volumes: ContainerSpec['volumes'] = [],
): Promise<Pick<ContainerSpec, 'dns' | 'extraHosts'>> {
  const { dns, dnsSearch, dnsOption, addHost } = options;
  const hasDns = dns.length + dnsSearch.length + dnsOption.length > 0;
  if (!hasDns && addHost.length === 0) return {};
  if (hasDns) refuseCovered('--dns', '/etc/resolv.conf', volumes);
  if (addHost.length > 0) refuseCovered('--add-host', '/etc/hosts', volumes);
  const parsers = await import('../spec/dns.ts');
  const resolver = {
    ...(dns.length === 0 ? {} : { servers: dns.map(parsers.parseNameServer) }),
    ...(dnsSearch.length === 0 ? {} : { search: dnsSearch.map(parsers.parseSearchDomain) }),
    ...(dnsOption.length === 0 ? {} : { options: dnsOption.map(parsers.parseResolverOption) }),
  };
  return {
    ...(hasDns ? { dns: parsers.checkDns(resolver) } : {}),
    ...(addHost.length === 0 ? {} : { extraHosts: addHost.map(parsers.parseExtraHost) }),
  };
}

/** A file of the user's in its place would hide it. */
function refuseCovered(option: string, path: string, volumes: NonNullable<ContainerSpec['volumes']>): void {
  if (!volumes.some(({ target }) => target === path)) return;
  throw new InvalidInputError(`cannot use ${option} and a volume at ${path} together`, { hint: 'take one of them' });
}
