"""Who may come in by a provider, and as what: claims of Google, Okta and Entra, and the rules of `apollo.toml`."""

from __future__ import annotations

from typing import Any

import pytest

from dagster_apollo.access.identity.claims import groups_are_left_out, identity_of, is_entra_for_anybody, label_of
from dagster_apollo.access.identity.rules import Identity, groups_that_matter, user_by_rules
from dagster_apollo.access.users import User
from dagster_apollo.fork import LoginRules

GOOGLE = "https://accounts.google.com"
OKTA = "https://acme.okta.com"
ENTRA = "https://login.microsoftonline.com/8f0c1d2e-0000-4000-8000-000000000001/v2.0"
RULES = LoginRules.model_validate(
    {
        "domains": {"Example.com": {"role": "viewer"}},
        "groups": {
            "shop-team": {"role": "operator", "tenants": ["shop"], "confined": True},
            "admins": {"role": "administrator"},
        },
        "emails": {"Owner@Example.com": {"role": "administrator"}},
    }
)


def known(issuer: str = OKTA, **claims: Any) -> User | None:
    return user_by_rules(identity_of({"sub": "u-1", "iss": issuer, **claims}, issuer), RULES)


class TestRules:
    def test_an_address_of_the_domain_comes_in(self) -> None:
        assert known(email="Ada@EXAMPLE.com") == User("ada@example.com", "viewer")

    @pytest.mark.parametrize(
        "email",
        [
            "ada@evil.example", "ada@sub.example.com", "ada@example.com.evil.example", "ada@evil.example@example.com",
            "example.com", "@example.com", "ada@", "ada@exämple.com", "ada@example.com@", "",
        ],
    )  # fmt: skip
    def test_another_address_does_not(self, email: str) -> None:
        assert known(email=email) is None

    def test_nobody_comes_in_without_a_claim(self) -> None:
        assert known() is None
        assert known(email=None, groups=None) is None
        assert known(email=["ada@example.com"], groups={"admins": 1}) is None

    def test_the_address_decides_before_a_group_and_a_group_before_the_domain(self) -> None:
        owner = known(email="owner@example.com", groups=["shop-team"])
        member = known(email="ada@example.com", groups=["shop-team"])
        assert owner is not None
        assert owner.role == "administrator"
        assert member == User("ada@example.com", "operator", frozenset({"shop"}), True)

    def test_of_several_groups_the_first_in_the_file_decides(self) -> None:
        both = known(email="ada@other.example", groups=["admins", "shop-team"])
        assert both is not None
        assert both.role == "operator"

    def test_a_group_is_known_exactly_as_it_is_written(self) -> None:
        assert known(email="x@other.example", groups=["Admins"]) is None
        assert known(email="x@other.example", groups=["admin", "admins "]) is None

    def test_without_rules_nobody_comes_in(self) -> None:
        assert user_by_rules(Identity("a", "a@example.com", "example.com", ("admins",)), LoginRules()) is None

    def test_only_groups_that_a_rule_names_are_kept(self) -> None:
        assert groups_that_matter(["x", "admins", "y"], RULES) == ("admins",)


class TestUnverified:
    @pytest.mark.parametrize("claim", ["email_verified", "xms_edov"])
    @pytest.mark.parametrize("value", [False, "false", 0, "0"])
    def test_an_address_that_is_said_to_be_unverified_does_not_count(self, claim: str, value: object) -> None:
        assert known(email="owner@example.com", **{claim: value}) is None

    def test_nor_is_it_the_name_by_which_a_group_comes_in(self) -> None:
        user = known(email="owner@example.com", email_verified=False, groups=["admins"])
        assert user == User("u-1 at acme.okta.com", "administrator")

    def test_one_that_nothing_is_said_of_counts(self) -> None:
        assert known(email="ada@example.com") is not None
        assert known(email="ada@example.com", email_verified=True) is not None


class TestGoogle:
    def test_the_domain_is_the_workspace(self) -> None:
        user = known(GOOGLE, email="ada@example.com", email_verified=True, hd="example.com")
        assert user == User("ada@example.com", "viewer")

    def test_a_private_account_with_an_address_of_the_domain_is_no_member(self) -> None:
        assert known(GOOGLE, email="ada@example.com", email_verified=True) is None

    def test_a_workspace_of_another_name_is_another(self) -> None:
        assert known(GOOGLE, email="ada@example.com", email_verified=True, hd="evil.example") is None

    def test_an_address_that_is_named_itself_comes_in_without_a_workspace(self) -> None:
        assert known(GOOGLE, email="owner@example.com", email_verified=True) is not None


class TestEntra:
    def test_a_member_without_the_email_claim_is_known_by_the_user_name(self) -> None:
        assert known(ENTRA, preferred_username="Ada@example.com") == User("ada@example.com", "viewer")

    def test_a_user_name_that_is_no_address_is_none(self) -> None:
        assert known(ENTRA, preferred_username="+46 70 000") is None

    def test_elsewhere_a_user_name_is_no_address(self) -> None:
        assert known(OKTA, preferred_username="owner@example.com") is None

    def test_a_guest_is_a_member_of_no_domain(self) -> None:
        guest = {"email": "ada@example.com", "idp": "https://sts.windows.net/other/"}
        assert known(ENTRA, **guest) is None
        assert known(ENTRA, **{**guest, "idp": ENTRA}) is not None

    def test_a_guest_who_is_named_comes_in(self) -> None:
        assert known(ENTRA, email="owner@example.com", idp="live.com") is not None

    def test_an_application_role_is_a_group(self) -> None:
        user = known(ENTRA, preferred_username="x@other.example", roles=["admins"])
        assert user is not None
        assert user.is_administrator

    @pytest.mark.parametrize("claims", [{"hasgroups": True}, {"_claim_names": {"groups": "src1"}}], ids=str)
    def test_groups_that_were_too_many_are_noticed(self, claims: dict[str, Any]) -> None:
        assert groups_are_left_out(claims)

    def test_an_issuer_for_everybody_is_told_from_a_tenants(self) -> None:
        assert is_entra_for_anybody("https://login.microsoftonline.com/common/v2.0")
        assert not is_entra_for_anybody(ENTRA)


@pytest.mark.parametrize(
    ("issuer", "label"),
    [
        (GOOGLE, "Google"), (OKTA, "Okta"), (ENTRA, "Microsoft"), ("https://okta.com.evil.example", "single sign-on"),
        ("https://auth.example.com/realms/x", "single sign-on"),
    ],
)  # fmt: skip
def test_a_provider_is_called_what_people_call_it(issuer: str, label: str) -> None:
    assert label_of(issuer) == label
