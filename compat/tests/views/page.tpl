% rebase('base.tpl', title=heading)
<h1>{{heading}}</h1>
% include('greeting.tpl', name='reader', words=[])
