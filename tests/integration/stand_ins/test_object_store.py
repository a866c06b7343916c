"""The real S3 server: it refuses whoever has not the right keys, and keeps what is in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from stand_ins.object_store import Keys
from tests.support.object_store import Account, ObjectStore, running_object_store


def test_an_account_uses_a_bucket_of_its_own(s3_account: Account, s3_bucket: str) -> None:
    s3_account.client().put_object(Bucket=s3_bucket, Key="a/b", Body=b"one")
    assert s3_account.objects(s3_bucket) == {"a/b": b"one"}


def test_another_account_is_refused(object_store: ObjectStore, s3_account: Account, s3_bucket: str) -> None:
    s3_account.client().put_object(Bucket=s3_bucket, Key="a", Body=b"one")
    with pytest.raises(ClientError, match="AccessDenied"):
        object_store.account().client().get_object(Bucket=s3_bucket, Key="a")


def test_a_wrong_secret_is_refused(s3_account: Account, s3_bucket: str) -> None:
    wrong = replace(s3_account, keys=Keys(s3_account.keys.key_id, "another"))
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        wrong.objects(s3_bucket)


def test_objects_and_accounts_survive_a_restart(folder: Path) -> None:
    with running_object_store(folder) as before:
        account = before.account()
        account.client().put_object(Bucket=account.make_bucket("bronze"), Key="a", Body=b"one")
    with running_object_store(folder) as after:
        again = replace(account, endpoint=after.endpoint)
        assert again.objects("bronze") == {"a": b"one"}
