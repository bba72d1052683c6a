#!/usr/bin/perl
# What SpamAssassin itself answers: behaviour.pl < cases.
#
# A case is a line of three words in hexadecimal: a configuration, a mail, a question ("-" for the empty text). An answer is a
# line in hexadecimal. Questions: see behaviour/main.rs.
use strict;
use warnings;
use Mail::SpamAssassin;
use Mail::SpamAssassin::PerMsgStatus;
use POSIX ();
use Mail::SpamAssassin::Plugin::Check;

# Nothing else may write there.
open(my $out, '>&', \*STDOUT) or die;
open(STDOUT, '>&', \*STDERR) or die;
my ($mail, $sa, $msg, $pms, $checked, @said);

sub opened {
  my ($text, $lint) = @_;
  @said = ();
  local $SIG{__WARN__} = sub { push @said, grep { /^(?:netset|config):/ } $_[0] };
  my $new = Mail::SpamAssassin->new({
    config_text => "file start test.cf\n$text\nfile end test.cf\n",
    local_tests_only => 1, dont_copy_prefs => 1,
    userprefs_filename => '/dev/null', rules_filename => '/nonexistent', site_rules_filename => '/nonexistent',
    lint_callback => sub { my %said = @_; push @said, $said{msg} },
  });
  $new->{lint_callback} = sub { my %said = @_; push @said, $said{msg} };
  $new->{lint_rules} = $lint;
  $new->{conf}->{lint_rules} = $lint;
  $new->init(0);
  return $new;
}

sub closed {
  $pms->finish() if $pms;
  $msg->finish() if $msg;
  ($pms, $msg, $mail, $checked) = ();
}

sub check { $pms->check() unless $checked++ }

sub answer {
  my ($what, $of) = @_;
  $of = '' unless defined $of;
  if ($what eq 'hits') {
    check();
    my %hits = map { $_ => 1 } @{$pms->{test_names_hit}};
    return join(',', sort keys %hits);
  }
  if ($what eq 'score') { check(); return sprintf('%.3f', $pms->{score}) }
  if ($what eq 'get') { my @all = $pms->get($of); return @all ? join($all[0] =~ /\n\z/ ? '' : "\n", @all) : '(none)' }
  if ($what eq 'uris') { return join(' ', sort $pms->get_uri_list()) }
  if ($what eq 'hosts') {
    my %hosts;
    for my $uri (values %{$pms->get_uri_detail_list() || {}}) {
      $hosts{"$_=$uri->{hosts}->{$_}"} = 1 for keys %{$uri->{hosts}};
    }
    return join(' ', sort keys %hosts);
  }
  if ($what eq 'body') { return join('|', @{$pms->get_decoded_stripped_body_text_array()}) }
  if ($what eq 'visible') { return join('|', @{$msg->get_visible_rendered_body_text_array()}) }
  if ($what eq 'invisible') { return join('|', @{$msg->get_invisible_rendered_body_text_array()}) }
  if ($what eq 'rawbody') { return join('|', @{$pms->get_decoded_body_text_array()}) }
  if ($what eq 'pristine') { return $msg->get_pristine_body() }
  if ($what eq 'types') { return join(' ', map { $_->{type} } $msg->find_parts(qr/./)) }
  if ($what eq 'html') { my $value = $pms->{html}->{$of}; return defined $value ? sprintf('%.6g', $value) : '(none)' }
  if ($what eq 'fill') { check(); return $pms->_replace_tags($of) }
  if ($what eq 'tag') { check(); my $tag = $pms->get_tag($of); return defined $tag ? $tag : '(none)' }
  if ($what eq 'fields') {
    check();
    # Without the first, which tells the version and the host.
    return $pms->_get_added_headers($pms->is_spam() ? 'headers_spam' : 'headers_ham') =~ s/\AX-Spam-Checker-Version: [^\n]*\n(?:[ \t][^\n]*\n)*//r;
  }
  if ($what eq 'report') { check(); return $pms->get_report() }
  if ($what eq 'priority') {
    for my $kind (qw(head_tests body_tests uri_tests rawbody_tests full_tests head_evals body_evals rawbody_evals full_evals)) {
      my $all = $sa->{conf}->{$kind};
      for my $priority (keys %$all) { return $priority if exists $all->{$priority}->{$of} }
    }
    return '(none)';
  }
  if ($what eq 'scores') { return join(' ', map { $sa->{conf}->{scoreset}->[$_]->{$of} } 0 .. 3) }
  if ($what eq 'received') {
    my $relay = $msg->{metadata}->parse_received_line($of);
    return 'unparseable' unless defined $relay;
    return '' unless $relay;
    my $text = $msg->{metadata}->make_relay_as_string($relay);
    $text =~ s/^\[ //; $text =~ s/ \]$//; $text =~ s/ intl=[01] / /;
    return $text;
  }
  return "no such question: $what";
}

sub told {
  my ($new_conf, $new_mail, $asked) = @_;
  my ($what, $of) = split / /, $asked, 2;
  if ($what eq 'lint') {
    opened($new_conf, 1);
    return join("\n", map { s/\s+\z//r } @said);
  }
  $sa = opened($new_conf, 0) unless $sa;
  if (!defined $mail || $new_mail ne $mail) {
    closed();
    my $text = $new_mail;
    ($mail, $msg) = ($new_mail, $sa->parse(\$text, 1));
    $pms = Mail::SpamAssassin::PerMsgStatus->new($sa, $msg);
    $pms->extract_message_metadata();
  }
  return answer($what, $of);
}

# Each configuration has a process of its own: what rules are compiled to outlives them.
sub answered {
  my $child = fork;
  die "fork: $!" unless defined $child;
  if ($child) { waitpid($child, 0); return }
  for my $case (@_) {
    my $told = eval { told(@$case) };
    $told = "died: $@" unless defined $told;
    utf8::encode($told) if utf8::is_utf8($told);
    syswrite $out, unpack('H*', $told) . "\n";
  }
  POSIX::_exit(0);
}

my @group;
while (my $line = <STDIN>) {
  chomp $line;
  my @case = map { $_ eq '-' ? '' : pack('H*', $_) } split / /, $line;
  my $same = @group && $group[0][0] eq $case[0] && $case[2] ne 'lint' && $group[0][2] ne 'lint';
  if (@group && !$same) {
    answered(@group);
    @group = ();
  }
  push @group, \@case;
}
answered(@group) if @group;
