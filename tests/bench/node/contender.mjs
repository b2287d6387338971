// The official TypeScript SDK, used as its documentation shows: one call after another, with its own pagination.
//
// Takes the same tasks as the other contenders, and prints what it found as a line of JSON. The service is what
// CLOUDFLARE_BASE_URL, CLOUDFLARE_API_TOKEN and CLOUDFLARE_ZONE_ID state.

import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import Cloudflare from 'cloudflare';

const zone_id = process.env.CLOUDFLARE_ZONE_ID;
const per_page = 50;
const validity_days = 30;
const POLL_INTERVAL = 1000;

const client = new Cloudflare();
const certificates = client.clientCertificates;
const tally = { count: 0, checksum: 0 };

const digits = (text) => parseInt(text.replaceAll('-', '').slice(0, 12), 16);

function add({ id, fingerprint_sha256 }) {
  tally.count += 1;
  tally.checksum = (tally.checksum + digits(id) + digits(fingerprint_sha256)) % 2 ** 48;
}

async function list() {
  const all = [];
  for await (const certificate of certificates.list({ zone_id, per_page })) all.push(certificate);
  all.forEach(add);
}

async function stream() {
  for await (const certificate of certificates.list({ zone_id, per_page })) add(certificate);
}

async function ids(file) {
  const lines = [];
  for await (const certificate of certificates.list({ zone_id, per_page })) {
    lines.push(`${certificate.id}\n`);
    add(certificate);
  }
  writeFileSync(file, lines.join(''));
}

async function issue(count, folder) {
  // Imported here, because the time to start is measured, too.
  const { X509Certificate, webcrypto } = await import('node:crypto');
  await import('reflect-metadata'); // The next import needs it.
  const x509 = await import('@peculiar/x509');

  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  for (let number = 0; number < Number(count); number++) {
    const name = String(number).padStart(5, '0');
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const request = await x509.Pkcs10CertificateRequestGenerator.create({
      name: [{ CN: [`device-${name}`] }],
      keys,
      signingAlgorithm: algorithm,
    });
    const issued = await certificates.create({ zone_id, csr: request.toString('pem'), validity_days });
    const spki = Buffer.from(await webcrypto.subtle.exportKey('spki', keys.publicKey));
    const certified = new X509Certificate(issued.certificate).publicKey.export({ type: 'spki', format: 'der' });
    if (!certified.equals(spki)) throw new Error('the certificate is not for this key');
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
    const pem = x509.PemConverter.encode(pkcs8, 'PRIVATE KEY');
    writeFileSync(`${folder}/${name}.pem`, `${issued.certificate}${pem}\n`, { mode: 0o600 });
    add(issued);
  }
}

async function revoke(file) {
  let pending = readFileSync(file, 'utf8').trim().split('\n');
  for (const id of pending) await certificates.delete(id, { zone_id });
  while (pending.length > 0) {
    await sleep(POLL_INTERVAL);
    const seen = [];
    for (const id of pending) seen.push(await certificates.get(id, { zone_id }));
    pending = [];
    for (const certificate of seen) {
      if (certificate.status === 'revoked') add(certificate);
      else if (certificate.status === 'pending_revocation') pending.push(certificate.id);
      else throw new Error(`a certificate is ${certificate.status}`);
    }
  }
}

async function get(id, times) {
  for (let time = 0; time < Number(times); time++) add(await certificates.get(id, { zone_id }));
}

const [task, ...argumentsOfTask] = process.argv.slice(2);
await { list, stream, ids, issue, revoke, get }[task](...argumentsOfTask);
console.log(JSON.stringify(tally));
