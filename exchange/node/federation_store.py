"""The federation as the store keeps it: every adopted record is verified again at each start."""

from __future__ import annotations

from collections.abc import Mapping

from exchange.acts import directory
from exchange.acts.directory import RecordKind
from exchange.rules.catalogue import Catalogue, packaged_catalogue, parse_catalogue
from exchange.store.store import Reads
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError
from keys.federation import Federation
from keys.refusals import Cure, cured_by

RUN_OUT = cured_by(Cure.RENEWAL)  # an old record's end is no fault of the database


def restore_federation(reads: Reads, now_ms: int) -> tuple[Federation, dict[bytes, Catalogue]]:
    """Rebuild what was adopted from the store; every signature is verified again.

    Raises:
        IntegrityError: The store has no roster, or records that do not verify.
    """
    records = reads.records()
    rosters = [record for record in records if record.kind == RecordKind.ROSTER]
    if not rosters:
        raise IntegrityError("the database holds no roster")
    federation = Federation.found(SignedPayload.decode(rosters[0].signed))
    newest = {(each.kind, each.agency, each.version) for each in directory.adopted(reads)}
    for record in records:
        signed = SignedPayload.decode(record.signed)
        try:
            if record.kind == RecordKind.MANIFEST:
                federation = federation.with_manifest(signed, now_ms)
            elif record.kind == RecordKind.KEY_SHEET:
                federation = federation.with_key_sheet(signed, now_ms)
        except RefusedError as error:
            # An older version may be signed by a key that a newer manifest no longer names.
            older = (record.kind, record.agency, record.version) not in newest
            if not older and error.code not in RUN_OUT:
                raise IntegrityError(f"record of {record.agency}, version {record.version}: {error}") from error
    digests = {each.record.catalogue_digest for each in federation.rosters}
    return federation, {digest: _catalogue(reads.catalogue(digest)) for digest in digests}


def _catalogue(files: Mapping[str, bytes]) -> Catalogue:
    packaged = packaged_catalogue()  # read once a process; most federations use it as it is
    return packaged if files == packaged.files else parse_catalogue(files)
