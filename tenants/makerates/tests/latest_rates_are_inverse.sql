-- The rate there times the rate back is one, as far as six decimals go.
select there.base, there.currency, there.rate, back.rate as rate_back
from {{ ref('cross_rates') }} as there
join {{ ref('cross_rates') }} as back on back.base = there.currency and back.currency = there.base
where abs(there.rate * back.rate - 1) > 0.001
