"""Whether manifests, server and inventory agree: what must hold again after any accident."""

import json
import sqlite3
from contextlib import closing

from reconciler.engine.documents import LEASE_TYPE
from reconciler.engine.lease import TTL
from tests.e2e.site import OURS
from tests.testbed import seed


def live(site):
    """Every deployment and every block document that isn't our book-keeping, by key, with its id."""
    with site.server.client() as client:
        flows = {flow["id"]: flow["name"] for flow in seed.listing(client, "flows")}
        deployments = seed.listing(client, "deployments")
        blocks = seed.listing(client, "block_documents", block_documents={"is_anonymous": None})
    found = [(f"deployment/{flows[d['flow_id']]}/{d['name']}", d["id"]) for d in deployments]
    found += [
        (f"block/{b['block_type']['slug']}/{b['name']}", b["id"])
        for b in blocks
        if b["block_type"]["slug"] not in OURS
    ]
    assert len(found) == len(dict(found)), "an object is there twice"
    return dict(found)


def inventory(site):
    """The id that each entry of the inventory names."""
    return {
        key: json.loads(entry)["id"]
        for record in site.records()
        for key, entry in (record["data"].get("entries") or {}).items()
    }


def agreed(site, keys):
    """Server, inventory and manifests name the same objects."""
    found = live(site)
    assert set(found) == keys
    assert inventory(site) == found


def at_rest(site, keys):
    """They agree, and nobody holds the lease."""
    agreed(site, keys)
    assert lease_is_free(site)


def lease_is_free(site):
    """Nobody holds the lease."""
    return not any("holder" in record["data"] for record in site.records())


def age_leases(server):
    """Let the time pass after which a silent holder counts as dead."""
    with closing(sqlite3.connect(server.database, timeout=60)) as database, database:
        database.execute(
            "UPDATE block_document SET updated = strftime('%Y-%m-%d %H:%M:%f000', updated, ?)"
            " WHERE block_type_id IN (SELECT id FROM block_type WHERE slug = ?)",
            (f"-{TTL + 5:.0f} seconds", LEASE_TYPE),
        )
