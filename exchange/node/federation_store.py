"""The federation as the store keeps it: every adopted record is verified again at each start.

That it had not run out was judged when it was adopted; whether it has by now, each look-up judges. So a node that was
down beyond the end of a record still knows whose it was.
"""

from __future__ import annotations

from collections.abc import Mapping

from exchange.acts import directory
from exchange.acts.directory import RecordKind
from exchange.rules.catalogue import Catalogue, packaged_catalogue, parse_catalogue
from exchange.store.store import Reads
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError
from keys.federation import Federation
from keys.identity import AgencyId
from keys.timed_key import check_issued


def restore_federation(reads: Reads, now_ms: int) -> tuple[Federation, dict[bytes, Catalogue]]:
    """Rebuild what was adopted from the store, in the order of its adoption; every signature is verified again.

    Raises:
        IntegrityError: The store has no roster, or records that do not verify, or are issued in the future.
    """
    records = sorted(reads.standing_records(), key=lambda each: (each.position, each.kind, each.agency, each.rank))
    rosters = [record for record in records if record.kind == RecordKind.ROSTER]
    if not rosters:
        raise IntegrityError("the database holds no roster")
    federation = Federation.found(SignedPayload.decode(rosters[0].signed))
    newest = {each.digest for each in directory.adopted(reads)}
    for record in records:
        signed = SignedPayload.decode(record.signed)
        try:
            if record.kind == RecordKind.MANIFEST:
                federation = federation.with_manifest_of_before(signed)
                check_issued(federation.newest_manifest(record.agency), now_ms)
            elif record.kind == RecordKind.KEY_SHEET:
                federation = federation.with_key_sheet_of_before(signed)
                check_issued(federation.key_sheets[AgencyId(record.agency)].record, now_ms)
        except RefusedError as error:
            # Where the positions are not known, an older one may be signed by a key that a newer manifest names no more.
            if record.digest in newest:
                raise IntegrityError(f"record of {record.agency}, version {record.version}: {error}") from error
    digests = {each.record.catalogue_digest for each in federation.rosters}
    return federation, {digest: _catalogue(reads.catalogue(digest)) for digest in digests}


def _catalogue(files: Mapping[str, bytes]) -> Catalogue:
    packaged = packaged_catalogue()  # read once a process; most federations use it as it is
    return packaged if files == packaged.files else parse_catalogue(files)
